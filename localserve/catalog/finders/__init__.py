"""Models that are on this disk already, one module for each program that keeps some.

Each `find` looks into folders of one layout and changes nothing in them; what it cannot use it
leaves out, with a note where that is a surprise. Blocking disk access: call them from a worker
thread.
"""
