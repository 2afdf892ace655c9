"""The catalogue of tools, with natural requests for them, that training offers.

No request that stands here is used by the evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass

# fmt: off



@dataclass(frozen=True)
class Entry:
    """A catalogue tool: names it may have, what it does, parameters and requests for it."""

    names: tuple[str, ...]
    description: tuple[str, ...]
    parameters: dict[str, str]
    requests: tuple[str, ...]


CATALOGUE: tuple[Entry, ...] = (
    Entry(
        ("get_weather", "weather", "get_current_weather", "weather_lookup"),
        ("Get the weather of a city.", "Get the current weather in a given city", "Weather."),
        {"city|location": "city"},
        (
            "What is the weather in {0}?", "How is the weather in {0}?", "Weather in {0}",
            "Is it raining in {0}?", "Will it rain in {0} today?",
            "What's the weather like in {0}?", "Tell me the weather in {0}.",
            "Do I need a coat in {0}?", "Is it warm in {0}?", "weather {0}?",
            "I am in {0}. How is the weather?", "Check the weather for {0}.",
            "What is the temperature in {0}?", "How cold is it in {0} now?",
            "Could you look how the weather is in {0} today?",
            "Please check the weather of {0} now.",
            "Could you tell me what the weather in {0} is like?",
            "Please tell me if it rains in {0}.",
            "I want to know about the weather in {0} right now.",
            "How is it in {0} today? The weather?",
        ),
    ),
    Entry(
        ("add", "add_numbers", "sum", "plus"),
        ("Add two numbers.", "Adds a and b", "Add."),
        {"a|x|first": "int", "b|y|second": "int"},
        (
            "What is {0} + {1}?", "Add {0} and {1}.", "What is {0} plus {1}?", "{0} + {1}",
            "Compute {0} + {1}.", "How much is {0} plus {1}?", "The sum of {0} and {1}?",
            "Calculate {0} + {1} with the tool.", "What do {0} and {1} make?",
            "Could you add {0} and {1}?", "Please add {0} to {1} for me.",
            "Work out {0} + {1}, please.",
            "Could you work out {0} plus {1}?", "Please compute {0} plus {1}.",
        ),
    ),
    Entry(
        ("multiply", "times", "multiply_numbers"),
        ("Multiply two numbers.", "Multiply"),
        {"a|x|first": "int", "b|y|second": "int"},
        (
            "What is {0} times {1}?", "Multiply {0} by {1}.", "{0} * {1}",
            "Compute {0} times {1}.", "How much is {0} x {1}?",
            "What is the product of {0} and {1}?", "{0} x {1} = ?",
        ),
    ),
    Entry(
        ("subtract", "minus", "subtract_numbers"),
        ("Subtract b from a.", "Subtract numbers"),
        {"a|x|first": "int", "b|y|second": "int"},
        ("What is {0} - {1}?", "What is {0} minus {1}?", "{0} - {1}", "Compute {0} minus {1}."),
    ),
    Entry(
        ("search", "web_search", "search_web", "google"),
        ("Search the web.", "Search for a query", "Find pages on the internet."),
        {"query|q|text": "phrase"},
        (
            "Search for {0}.", "Search the web for {0}.", "Find information about {0}.",
            "Look up {0}.", "Google {0}", "Find pages about {0}.", "Can you search for {0}?",
            "Search {0}", "Do a web search for {0}.", "I want to find {0} on the web.",
            "Could you look on the internet for {0}?", "Please search the net for {0}.",
            "Look for {0} online, please.", "Could you search for {0} on the internet?",
        ),
    ),
    Entry(
        ("get_time", "current_time", "time_in", "get_current_time"),
        ("Get the time in a city.", "Current time of a place"),
        {"city|location|place": "city"},
        (
            "What time is it in {0}?", "What is the time in {0}?", "Time in {0}?",
            "Tell me the time in {0}.", "How late is it in {0}?", "Current time in {0} please.",
        ),
    ),
    Entry(
        ("now", "get_date", "current_date", "today"),
        ("Get the date of today.", "The date now"),
        {},
        (
            "What day is it today?", "What is the date?", "Which date is it today?",
            "What is the date today?", "Tell me today's date.",
        ),
    ),
    Entry(
        ("send_email", "email", "send_mail"),
        ("Send an email.", "Send a mail to a person"),
        {"to|recipient": "name", "subject": "phrase"},
        (
            "Send an email to {0} about {1}.", "Email {0} with the subject {1}.",
            "Write a mail to {0} about {1}.", "Mail {0}: {1}.", "Send {0} an email about {1}.",
        ),
    ),
    Entry(
        ("send_message", "message", "send_text"),
        ("Send a message.", "Send a text message"),
        {"to|recipient|name": "name", "text|message|body": "phrase"},
        (
            "Send {0} the message {1}.", "Tell {0}: {1}.", "Text {0} that {1}.",
            "Message {0}: {1}.", 'Send "{1}" to {0}.', "Write {0} a message: {1}.",
        ),
    ),
    Entry(
        ("set_timer", "start_timer", "timer"),
        ("Set a timer.", "Start a timer in minutes"),
        {"minutes": "int"},
        (
            "Set a timer for {0} minutes.", "Start a {0} minute timer.", "Timer {0} minutes",
            "Wake me in {0} minutes.", "Remind me in {0} minutes.",
            "Set the timer to {0} minutes.",
        ),
    ),
    Entry(
        ("turn_on_light", "light_on", "switch_light"),
        ("Turn on the light in a room.",),
        {"room": "noun"},
        (
            "Turn on the light in the {0}.", "Switch the {0} light on.", "Light on in the {0}.",
            "Make it bright in the {0}.",
        ),
    ),
    Entry(
        ("read_file", "open_file", "cat"),
        ("Read a file.", "Return the content of a file."),
        {"path|filename|file": "path"},
        (
            "Read the file {0}.", "Open {0}.", "What is in {0}?", "Show me {0}.",
            "Print the file {0}", "Show the content of {0}.",
        ),
    ),
    Entry(
        ("write_file", "save_file"),
        ("Write text to a file.",),
        {"path|filename": "path", "text|content": "phrase"},
        ("Write {1} to {0}.", "Save {1} in the file {0}.", "Write the text {1} into {0}."),
    ),
    Entry(
        ("run_python", "python", "execute"),
        ("Run Python code.", "Execute code"),
        {"code": "code"},
        ("Run {0}", "Execute {0}", "Run this code: {0}", "Run the Python code {0}"),
    ),
    Entry(
        ("book_flight", "find_flight", "search_flights"),
        ("Find a flight.", "Book a flight"),
        {"origin|from_city": "city", "destination|to_city": "city"},
        (
            "Book a flight from {0} to {1}.", "Find a flight from {0} to {1}.",
            "I want to fly from {0} to {1}.", "Flights from {0} to {1}?",
            "Fly me from {0} to {1}.",
        ),
    ),
    Entry(
        ("convert_currency", "convert_money"),
        ("Convert an amount of money.",),
        {"amount": "int", "currency|to": "currency"},
        (
            "Convert {0} dollars to {1}.", "How much is {0} dollars in {1}?",
            "Change {0} dollars into {1}.",
        ),
    ),
    Entry(
        ("get_population", "population"),
        ("Get the population of a city.",),
        {"city|place": "city"},
        ("How many people live in {0}?", "What is the population of {0}?", "Population of {0}?"),
    ),
    Entry(
        ("play_music", "play_song", "play"),
        ("Play a song.",),
        {"title|song": "phrase"},
        ("Play {0}.", "Play the song {0}.", "I want to hear {0}.", "Put on {0}."),
    ),
    Entry(
        ("get_user", "find_user", "lookup_user"),
        ("Get a user by id.", "Find a user"),
        {"id|user_id": "int"},
        ("Get the user {0}.", "Who is user {0}?", "Find the user with id {0}.", "Show user {0}."),
    ),
    Entry(
        ("translate", "translate_text"),
        ("Translate a text.",),
        {"text": "phrase", "language|target": "language"},
        (
            "Translate {0} to {1}.", 'Translate "{0}" into {1}.', "What is {0} in {1}?",
            "How do you say {0} in {1}?",
        ),
    ),
    Entry(
        ("find_song", "search_song", "play_song"),
        ("Finds a song.", "Find a song by its title", "Looks for a song"),
        {"title|song": "phrase"},
        (
            "Could you find the song {0}?", "Please find me the song {0}.",
            "Find a song about {0}.",
            "Look for the song {0}.", "I want to hear {0}.", "Find me the song of {0}.",
        ),
    ),
    Entry(
        ("find_book", "search_book", "lookup_book"),
        ("Finds a book.", "Find a book in the library", "Looks for books"),
        {"topic|title|author": "phrase"},
        (
            "Could you find a book about {0}?", "Please find me a book on {0}.",
            "Find the book {0}.", "Is there a book about {0}?", "Look for a book for {0}.",
            "I need a book of {0}.",
        ),
    ),
    Entry(
        ("find_shop", "search_shop"),
        ("Finds a shop.", "Find a shop that sells something"),
        {"product|item|goods": "phrase"},
        (
            "Could you find a shop for {0}?", "Please find me a shop that sells {0}.",
            "Where can I buy {0}?", "Find a shop for {0}.", "I want to buy {0}.",
        ),
    ),
    Entry(
        ("heat_room", "heat_oven", "run_pump", "open_valve"),
        ("Runs it for some minutes.", "Turns it on", "Switch on for a time"),
        {"minutes|seconds|hours": "int"},
        (
            "Could you turn it on for {0} minutes?", "Please run it, minutes should be {0}.",
            "Let it run for {0} minutes.", "Switch it on for {0}.", "On for {0} please.",
        ),
    ),
    Entry(
        ("create_event", "add_event", "create_note"),
        ("Creates an event.", "Create a new entry", "Add an entry with a title and a level"),
        {"title|name|text": "phrase", "level|priority|size": "int"},
        (
            'Please create one titled "{0}" with level {1}.',
            "Create a new one, title {0} and {1}.",
            'Make an entry called "{0}" with priority {1}.', "New entry {0}, level {1}, please.",
            "Please add {0} with level {1}.", "Create {0} with size {1}, thanks.",
        ),
    ),
)
