"""Sixty requests as people make them, labelled by hand before the score was written down: 30 that a
small model answers well, 30 that want a large one."""

from __future__ import annotations

from localserve.routing.complexity import Features

CODE = """```python
def merge(a, b):
    out = []
    while a and b:
        out.append(a.pop(0) if a[0] < b[0] else b.pop(0))
    return out + a + b
```"""

TRACE = """Traceback (most recent call last):
  File "app.py", line 12, in <module>
    main()
  File "app.py", line 8, in main
    return items[3]
IndexError: list index out of range"""

LONG = "The committee met on Tuesday and heard three reports on the harbour. " * 80

SMALL = [
    Features("Hi there!"),
    Features("What is the capital of France?"),
    Features("Translate 'good morning' into Spanish."),
    Features("How many days are in February in a leap year?"),
    Features("Write a haiku about rain."),
    Features("What is 17 times 3?"),
    Features("Thanks, that helps."),
    Features("Who wrote Pride and Prejudice?"),
    Features("Give me a synonym for 'quick'."),
    Features("Is a tomato a fruit?"),
    Features("Correct the spelling: I recieved teh letter yesterday."),
    Features("What does HTTP stand for?"),
    Features("Name three colours of the rainbow."),
    Features("Tell me a joke about cats."),
    Features("Convert 5 miles to kilometres."),
    Features("Rewrite this more politely: send me the file now."),
    Features("What time zone is Tokyo in?"),
    Features("Say hello in Japanese."),
    Features("Which is larger, Jupiter or Saturn?"),
    Features("List the days of the week.", turns=2),
    Features("Yes, please.", other_tokens=300, turns=3),
    Features("Make it shorter.", other_tokens=400, turns=2),
    Features("What's the plural of 'mouse'?"),
    Features("Is this sentence positive or negative: I loved the film."),
    Features("What is the weather in Oslo?", tools=1),
    Features("Turn on the kitchen light.", tools=2),
    Features("Set a timer for ten minutes.", tools=3),
    Features("What does `git status` show?"),
    Features("Give a title for a story about a lost dog.", max_tokens=20),
    Features("Answer with one word: what colour is the sky?", max_tokens=5),
]

LARGE = [
    Features("Prove that there are infinitely many primes, and explain why the proof works."),
    Features(f"Debug this, and explain why it is slow:\n{CODE}"),
    Features(f"{CODE}\nRefactor this so that it runs in linear time and add tests."),
    Features("Design a schema for a booking system with waiting lists. Compare two ways."),
    Features("Analyse the trade-offs between optimistic and pessimistic locking, step by step."),
    Features(f"Why does this fail?\n{TRACE}"),
    Features(f"Summarise this and evaluate the arguments:\n{LONG}"),
    Features("Write an essay on the causes of the First World War, in detail.", max_tokens=2000),
    Features("Implement a lock-free queue in C++ and reason about its memory ordering."),
    Features("Derive the formula for the variance of a sum of correlated variables."),
    Features("Plan a migration from a monolith to services:\n- data\n- deployment\n- rollback"),
    Features("Compare Raft and Paxos. Which is simpler? Why? When would you use each?"),
    Features("Optimize this query:\nSELECT *\nFROM a, b;\nCREATE TABLE b (id int);"),
    Features("Evaluate the integral of x^2 e^x and show the reasoning."),
    Features("Find the race condition.\n```go\ngo func() { x++ }()\nx++\n```"),
    Features("Review this code for security problems.\n" + CODE),
    Features("Now add the tests, and fix the imports in server.py.", 9000, turns=9, tools=9),
    Features("Investigate why the build fails and repair it.", 6000, turns=4, tools=12),
    Features("Implement the second option.", 12000, turns=6, tools=10),
    Features("What is the complexity of this algorithm? Can it be better?\n" + CODE),
    Features("Assess our strategy:\n1. cut prices\n2. hire\n3. expand\nWhat would go wrong?"),
    Features("Think carefully: three switches, one bulb in another room. Give a plan, and why."),
    Features("Diagnose: the service deadlocks under load.\n```\nlock(a); lock(b);\n```"),
    Features("Critique this argument and contrast it with Hume's: " + LONG[:1500]),
    Features("Write a parser for arithmetic.\nclass Parser:\n    def parse(self):\n        ...\n"),
    Features(f"Translate this into German, keep the tone, and review your work:\n{LONG}"),
    Features("Estimate how many piano tuners live in Chicago, step by step."),
    Features("Architect a cache for many regions; compare consistency models in depth."),
    Features(f"Port this to Rust.\n{CODE}", 3000, turns=3),
    Features("Use the tools to compare the three flights and plan the trip.", 800, tools=8),
]
