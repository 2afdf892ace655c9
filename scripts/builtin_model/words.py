"""Word tables and training wordings for the built-in model.

This module holds only constants: words, facts and the sentences in which training asks for
them. It makes no samples (``builtin_model.data`` does), and it holds no wording that the
evaluation uses: those stand in ``builtin_model.held_out``.
"""

# ruff: noqa: SIM905 - word lists read better as text

from __future__ import annotations

# fmt: off

NOUNS: tuple[str, ...] = tuple(
    """apple river stone cloud garden window table chair bottle candle mountain valley forest bridge
castle village market harbor island desert ocean beach train plane bicycle engine wheel hammer
ladder basket blanket pillow mirror curtain carpet kitchen bedroom balcony cellar attic roof door
key lock letter envelope stamp pencil paper book page story poem song guitar piano violin drum
trumpet dancer painter writer farmer baker doctor teacher student pilot sailor soldier king queen
prince knight dragon tiger lion elephant monkey rabbit horse cow sheep goat pig dog cat mouse bird
eagle owl duck swan fish whale shark dolphin turtle snake frog spider butterfly bee ant tree leaf
root branch flower rose tulip grass corn wheat rice bread butter cheese milk honey sugar salt pepper
soup salad potato tomato carrot onion garlic lemon orange banana grape cherry peach coffee tea water
juice wine summer winter spring autumn morning evening night shadow light fire smoke ice snow rain
storm wind thunder moon star planet rocket robot computer screen keyboard phone camera clock watch
ring crown coin gold silver iron copper glass wood wool cotton silk leather shirt jacket coat hat
shoe glove scarf button pocket needle thread museum library school church hospital station airport
office factory street corner garage tunnel tower field fence gate path hill lake pond wave sand
shell boat ship anchor sail map compass lantern torch tent bucket rope knife spoon fork plate cup
bowl oven game puzzle toy ball kite prize party gift family friend neighbor brother sister uncle
picture color number answer question reason idea dream memory secret voice noise silence record
order ticket project task report invoice product customer account message event device sensor
server file folder image video channel budget contract meeting schedule""".split()
)

VERBS: tuple[str, ...] = tuple(
    """open close start stop create delete update find list show send print move copy read write
check count sort merge split rename paint build repair clean wash cook bake order buy sell rent
book cancel confirm load save export import upload download lock unlock archive publish schedule
translate measure compare reset restart enable disable assign approve reject review track ship
return pack label scan play record mute call invite notify remind fetch get set add remove
calculate convert plan draw water feed charge inspect tag rate""".split()
)

ADJECTIVES: tuple[str, ...] = tuple(
    """big small red blue green yellow black white brown purple pink gray happy sad quick slow warm
cold bright dark loud quiet old new young strong weak heavy clean dirty empty full rich poor soft
hard sweet bitter wet dry early late deep shallow wide narrow round square gentle brave clever
calm lazy proud simple strange golden wooden tiny huge ancient modern fresh broken hidden""".split()
)

SMALL_WORDS: tuple[str, ...] = tuple(
    """the and with under over near from into again never always often today tomorrow here there
then once very many some each other every little more less after before because while until
about without between against around behind beside through during since still also only even
just maybe perhaps soon later first last next same different great good bad long short high low
make take give keep hold bring think know want need look come walk run sing dance jump sleep eat
drink talk listen learn teach help work turn grow fall rise wait stay leave follow carry push
pull throw catch break fix cut dig climb swim fly ride drive time year week month people world
life hand part place case point company system program group problem fact eye head face
body""".split()
)

NAMES: tuple[str, ...] = tuple(
    """Ada Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Maria Noah Olga Paul Quinn Rosa
Sam Tina Uma Victor Wendy Xavier Yara Zoe Alice Bob Carol Daniel Eva Frank Hannah Ivan Julia Karl
Laura Martin Nina Oscar Peter Ruth Simon Thomas Anna George Lucy Max Sofia Tom""".split()
)

CAPITALS: dict[str, str] = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid",
    "Portugal": "Lisbon", "England": "London", "Ireland": "Dublin", "Scotland": "Edinburgh",
    "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen",
    "Poland": "Warsaw", "Austria": "Vienna", "Hungary": "Budapest", "Greece": "Athens",
    "Turkey": "Ankara", "Russia": "Moscow", "Ukraine": "Kyiv", "Romania": "Bucharest",
    "Bulgaria": "Sofia", "Belgium": "Brussels", "Switzerland": "Bern",
    "the Netherlands": "Amsterdam", "Czechia": "Prague", "Croatia": "Zagreb",
    "Iceland": "Reykjavik", "Egypt": "Cairo", "Kenya": "Nairobi", "Morocco": "Rabat",
    "Japan": "Tokyo", "China": "Beijing", "India": "New Delhi", "Thailand": "Bangkok",
    "Vietnam": "Hanoi", "Australia": "Canberra", "Canada": "Ottawa", "Mexico": "Mexico City",
    "Brazil": "Brasilia", "Argentina": "Buenos Aires", "Chile": "Santiago", "Peru": "Lima",
    "Cuba": "Havana", "South Korea": "Seoul", "the United States": "Washington",
    "the United Kingdom": "London",
}

CITIES: tuple[str, ...] = tuple(sorted(set(CAPITALS.values()))) + tuple(
    """Munich Hamburg Lyon Milan Porto Boston Chicago Denver Dallas Miami Seattle Toronto Sydney
Melbourne Mumbai Shanghai Osaka Geneva Zurich Krakow Bergen Leeds Bristol Oxford Venice Naples
Valencia Houston Phoenix Atlanta Detroit Portland Montreal Kyoto Dubai Lagos Singapore""".split()
)

COLOURS: dict[str, str] = {
    "the sky": "blue", "grass": "green", "a banana": "yellow", "snow": "white", "coal": "black",
    "blood": "red", "an orange": "orange", "a lemon": "yellow", "the sea": "blue",
    "chocolate": "brown", "milk": "white", "a tomato": "red", "a leaf": "green",
    "the sun": "yellow", "a strawberry": "red", "a flamingo": "pink", "a carrot": "orange",
    "a cucumber": "green", "an elephant": "gray", "a violet": "purple",
}

OPPOSITES: tuple[tuple[str, str], ...] = (
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("day", "night"), ("fast", "slow"),
    ("happy", "sad"), ("light", "dark"), ("old", "new"), ("open", "closed"), ("left", "right"),
    ("full", "empty"), ("high", "low"), ("hard", "soft"), ("long", "short"), ("loud", "quiet"),
    ("rich", "poor"), ("wet", "dry"), ("strong", "weak"), ("early", "late"), ("good", "bad"),
    ("black", "white"), ("clean", "dirty"), ("near", "far"), ("thick", "thin"), ("love", "hate"),
    ("win", "lose"), ("begin", "end"), ("true", "false"), ("yes", "no"), ("sweet", "bitter"),
)

DAYS: tuple[str, ...] = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)
MONTHS: tuple[str, ...] = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)

SYSTEM_PROMPTS: tuple[str, ...] = (
    "You are a helpful assistant.", "You are a helpful assistant", "You are helpful.",
    "You are a helpful, honest and harmless assistant.", "Be brief.", "Answer briefly.",
    "You are a small language model.", "You are a friendly assistant. Answer in one sentence.",
    "You are an AI assistant.", "Answer the question.", "You are localserve tiny.",
    "Be concise and polite.", "You are a test assistant.", "Follow the instructions of the user.",
    "You are an expert in {noun}s.", "You work for the {noun} company.", "Your name is {name}.",
    "You are {name}, a {adjective} assistant.", "The user is called {name}.",
)

PREFIXES: tuple[str, ...] = (
    "Please {}", "Hi, {}", "Hello! {}", "Hey, {}", "Quick question: {}", "Question: {}",
    "I have a question. {}", "Tell me, {}", "So, {}", "Ok, {}", "Okay: {}", "Now {}", "Next: {}",
    "Sorry, {}", "Dear assistant, {}", "{name} asks: {}", "One thing: {}", "Listen, {}",
    "My {noun} asks: {}", "For my {noun}: {}", "I wonder, {}", "Just {}", "Well, {}",
    "Good morning. {}", "Do you know? {}", "Help me: {}", "For school: {}", "Q: {}",
    "Could you {}", "Can you please {}", "Would you {}", "I would like you to {}", "Kindly {}",
    "Could you tell me: {}", "Would you please tell me, {}", "Please help me: {}",
    "My {noun} wants to know this: {}", "My {noun} wants to learn this: {}", "Please answer: {}",
    "Hi! I have a question: {}", "Hey there! {}", "Hi! I want to know: {}", "Tell me please: {}",
    "I am {name}. {}", "Be so kind: {}", "First, {}", "Then {}", "By the way, {}",
)
SUFFIXES: tuple[str, ...] = (
    "{} Thanks.", "{} Thank you!", "{} Please.", "{} Be brief.", "{} Answer in one sentence.",
    "{} I need it for my {noun}.", "{} Thanks, {name}", "{} I forgot.", "{} Can you help?",
    "{} Just the answer.", "{} It is for a {adjective} {noun}.", "{} Keep it short.", "{} :)",
    "{} I can't remember.", "{} for me, please", "{} Could you tell me?", "{} please",
    "{} In one word, please.", "{} Which one is it?", "{} Do you know it?", "{} Tell me.", "{} A:",
    "{}\nAnswer:", "{} I am curious.",
)

CAPITAL_WORDINGS: tuple[str, ...] = (
    "What is the capital of {}?", "What's the capital of {}?", "Name the capital of {}.",
    "Which city is the capital of {}?", "Tell me the capital of {}.", "Capital of {}?",
    "The capital of {} is?", "What is the capital city of {}?", "{}: capital?",
    "What city is {}'s capital?", "What is {}'s capital?", "Give me the capital of {}.",
    "I need the capital of {}.", "Do you know the capital of {}?", "Can you name {}'s capital?",
    "capital {}", "In {}, which city is the capital?", "Which city serves as capital of {}?",
    "What is the name of the capital city of {}?", "Say the capital of {}.",
    "I want to know the capital of {}.", "What do you call the capital of {}?",
    "Where does the government of {} sit?", "What capital does {} have?",
    "What would be the capital of {}?", "The main city of {}, its capital?",
    "I am travelling to {}. What is its capital?", "Take {}. What is the capital?",
    "What is {}'s capital city?", "what's the capital city of {}", "{}'s capital is called what?",
    "I forgot the capital of {}. What is it?", "Can you remember the capital of {}?",
    "Please tell me {}'s capital.", "Geography: the capital of {}?", "Quiz: what is {}'s capital?",
    "My son asks for the capital of {}. Which one is it?", "Just the capital of {}, please.",
)
REVERSE_CAPITAL_WORDINGS: tuple[str, ...] = (
    "{} is the capital of which country?", "Which country has the capital {}?",
    "Of which country is {} the capital?", "What country is {} the capital of?",
)
COLOUR_WORDINGS: tuple[str, ...] = (
    "What colour is {}?", "What color is {}?", "Which colour has {}?", "Which color is {}?",
    "Tell me the color of {}.", "Name the colour of {}.", "What is the color of {}?",
    "What is the colour of {}?", "The color of {}?", "Give me the colour of {}.",
    "Do you know the color of {}?", "{}: what color?",
)
OPPOSITE_WORDINGS: tuple[str, ...] = (
    "What is the opposite of {}?", "What's the opposite of {}?", "Opposite of {}?",
    'What is the opposite of "{}"?', "Name the opposite of {}.", "Tell me the opposite of '{}'.",
    "Give me the opposite of the word {}.", "Which word is the opposite of {}?",
    "What word means the opposite of {}?", "The opposite of {} is?", "{}: opposite?",
    "Do you know an antonym of {}?", "Give an antonym for {}.",
)
DAY_AFTER_WORDINGS: tuple[str, ...] = (
    "What day comes after {}?", "Which day follows {}?", "What is the day after {}?",
    "Today is {}. What day is tomorrow?", "Name the day after {}.", "After {} comes which day?",
    "What {kind} comes after {}?", "Which {kind} follows {}?", "Tell me the {kind} after {}.",
)
DAY_BEFORE_WORDINGS: tuple[str, ...] = (
    "What day comes before {}?", "Which day is before {}?", "What is the day before {}?",
    "Today is {}. What day was yesterday?", "Name the day before {}.",
    "What {kind} comes before {}?", "Tell me the {kind} before {}.",
)

ADD_WORDINGS: tuple[str, ...] = (
    "What is {a} + {b}?", "What is {a} plus {b}?", "{a} + {b}", "{a}+{b}", "{a} + {b} = ?",
    "{a} + {b} =", "{a}+{b}=?", "Add {a} and {b}.", "How much is {a} + {b}?",
    "Compute {a} + {b}.", "How much is {a} plus {b}?", "Calculate {a} plus {b}.",
    "What's {a} + {b}?", "What do you get when you add {a} and {b}?", "The sum of {a} and {b}?",
    "Work out {a} + {b}.", "What is the sum of {a} and {b}?", "Add {b} to {a}.", "{a} plus {b}",
    "Solve {a} + {b}.", "Give me the sum of {a} and {b}.", "Tell me {a} + {b}.",
    "{a} plus {b} is what?", "If I add {a} and {b}, what do I get?", "{a} and {b} together make?",
    "Evaluate {a}+{b}.", "I have {a} {noun}s and get {b} more. How many do I have?",
    "{name} has {a} {noun}s and buys {b} more. How many {noun}s is that?",
    "There are {a} {noun}s. {b} more come. How many are there now?", "Can you add {a} and {b}?",
    "What is {a} added to {b}?", "Total of {a} and {b}?",
    "If you have {a} and add {b}, how much is it?",
    "If we add {b} to {a}, what is the result?", "What does {a} plus {b} equal?",
    "Could you please add {a} and {b}?", "Please tell me what {a} + {b} is.",
    "The book says {a} + {b}. What is the answer?", "My teacher wrote {a} + {b}. What comes out?",
    "The exercise is {a} + {b}. Which number is right?", "How much do {a} and {b} make?",
    "How much does {a} plus {b} make?", "Which number is {a} + {b}?", "Find {a} + {b}.",
    "Please find {a} plus {b}.", "What total do I get from {a} and {b}?", "Math: {a}+{b}",
    "Math problem: {a} + {b}", "Sum: {a} + {b}", "When you add {a} to {b}, what do you get?",
    "{a} + {b} equals?", "{a} + {b} equals what?", "Tell me what {a} plus {b} makes.",
    "Which total is {a} plus {b}?",
    "My homework: {a} + {b}. The result?", "What number is the sum of {a} and {b}?",
    "Hey, what does {a} + {b} equal?", "Please calculate the sum of {a} and {b}.",
    "If {a} and {b} are added, what is the total?", "The result of {a} + {b} please.",
    "If you add {b} and {a}, what do you get?", "Please give the sum of {a} and {b}.",
    "Maths homework: {a} + {b}", "Find what {a} plus {b} is.", "Sum up {a} and {b}.",
)
SUBTRACT_WORDINGS: tuple[str, ...] = (
    "What is {a} - {b}?", "What is {a} minus {b}?", "{a} - {b}", "{a}-{b}", "{a} - {b} = ?",
    "{a} - {b} =", "{a}-{b}=?", "Subtract {b} from {a}.", "How much is {a} - {b}?",
    "Compute {a} - {b}.", "How much is {a} minus {b}?", "Calculate {a} minus {b}.",
    "What's {a} - {b}?", "Take {b} away from {a}.", "The difference of {a} and {b}?",
    "Work out {a} - {b}.", "What is the difference between {a} and {b}?", "{a} minus {b}",
    "Solve {a} - {b}.", "Tell me {a} - {b}.", "{a} minus {b} is what?", "Evaluate {a}-{b}.",
    "What is left if I take {b} from {a}?", "Can you subtract {b} from {a}?",
    "I have {a} {noun}s and lose {b}. How many are left?",
    "{name} has {a} {noun}s and sells {b}. How many {noun}s are left?",
    "There are {a} {noun}s. {b} go away. How many are left?",
    "What do you get when you subtract {b} from {a}?",
    "If you have {a} and take {b}, what is left?",
    "If we subtract {b} from {a}, what is the result?", "What does {a} minus {b} equal?",
    "Could you please subtract {b} from {a}?", "Please tell me what {a} - {b} is.",
    "The book says {a} - {b}. What is the answer?", "My teacher wrote {a} - {b}. What comes out?",
    "The exercise is {a} - {b}. Which number is right?", "How much does {a} minus {b} make?",
    "Which number is {a} - {b}?", "Find {a} - {b}.", "Please find {a} minus {b}.",
    "What remains when I take {b} from {a}?", "Math: {a}-{b}", "Math problem: {a} - {b}",
    "When you subtract {b} from {a}, what do you get?", "{a} - {b} equals?",
    "{a} - {b} equals what?", "Tell me what {a} minus {b} makes.", "Take away {b} from {a}.",
    "Please take {b} away from {a}.", "Take {b} off {a}. What remains?",
    "My homework: {a} - {b}. The result?", "Hey, what does {a} - {b} equal?",
    "Please calculate the difference of {a} and {b}.", "{b} less than {a} is?",
    "If {b} is taken from {a}, what remains?", "The result of {a} - {b} please.",
    "If you subtract {b} from {a}, what do you get?", "Please subtract {b} from {a}.",
    "Maths homework: {a} - {b}", "Find what {a} minus {b} is.",
    "What number is left of {a} without {b}?", "From {a} take {b}.", "From {a} subtract {b}.",
)
DRILL_WORDINGS: tuple[str, ...] = (
    "Work out: {}", "Compute: {}", "Solve these: {}", "Calculate {}", "{}", "Do the sums: {}",
    "What are {}?", "Fill in: {}", "Answer each: {}", "Please solve {}",
)

COPY_WORDINGS: tuple[str, ...] = (
    "Repeat: {}", "Repeat after me: {}", "Copy this: {}", "Copy: {}", "Echo: {}", "Say: {}",
    "Repeat this text: {}", "Repeat exactly: {}", "Copy this text exactly: {}", "Echo this: {}",
    "Repeat the following words: {}", "Write this again: {}", "Please repeat: {}", "Say this: {}",
    "Copy the following: {}", "Repeat the words {}", "Give me back this text: {}",
    "Type this: {}", "Write exactly this: {}", "Repeat word for word: {}", "Print: {}",
    'Repeat "{}"', 'Say "{}"', 'Copy "{}"', 'Repeat the text "{}" exactly.', "Repeat this:\n{}",
    'Echo "{}".', "Copy the line below.\n{}", "Repeat the text below:\n\n{}", "{}\nRepeat that.",
    "{}\n\nCopy the text above.", 'Here is a text: "{}". Repeat it.',
    "Text: {}\nRepeat the text.", "Return this unchanged: {}", "Output the following text: {}",
    "Say it again: {}", "Can you repeat this: {}", "I say: {}. You say the same.",
    "Read this back to me: {}", "Write down: {}", "Reply with: {}",
    "Answer with exactly this: {}", "Respond with {}", "Repeat what I say: {}",
    "Copy these words: {}", "Words: {}. Copy them.", "Do not change anything, just repeat: {}",
    "Quote this: {}", "Put this text out again: {}", "Please write these words again: {}",
    "Could you repeat this text? {}", "Could you copy the following text: {}",
    "Please copy these words exactly: {}", "Copy the following words exactly as they are: {}",
    "Write out this text again, in the same order: {}", "Please echo the following: {}",
    "Echo these words back: {}", "Give me these words back without a change: {}",
    "Please repeat the following exactly: {}", "Please say this again: {}", "Now repeat: {}",
    "Copy the text below.\n\n{}", "Repeat the words below.\n\n{}", "Please copy this line:\n\n{}",
    'Please repeat this exactly as it is: "{}"', 'Please copy the following words: "{}"',
    "Can you echo this text back to me? {}", "Would you write these words out again? {}",
    "Give this back to me: {}", "Now write: {}", "Say the following words: {}",
    "Please give me the same words in the same order: {}", "The words are: {} Write them again.",
)
EDIT_FIRST_WORDINGS: tuple[str, ...] = (
    "What is the first word of: {}", "Give me the first word: {}", "First word of {}",
    'What is the first word in "{}"?', "Only repeat the first word: {}",
)
EDIT_LAST_WORDINGS: tuple[str, ...] = (
    "What is the last word of: {}", "Give me the last word: {}", "Last word of {}",
    'What is the last word in "{}"?', "Only repeat the last word: {}",
)
EDIT_REPLACE_WORDINGS: tuple[str, ...] = (
    "Replace {old} by {new}: {}", "Replace {old} with {new} in: {}", "Change {old} to {new}: {}",
    'In the text "{}" replace {old} with {new}.', "Swap the word {old} for {new}: {}",
    "Write {new} instead of {old}: {}",
)

COUNT_WORDINGS: tuple[str, ...] = (
    "Count from {a} to {b}.", "Count {a} to {b}", "List the numbers from {a} to {b}.",
    "Count up from {a} to {b}.", "Write the numbers {a} to {b}.", "Numbers from {a} to {b}?",
    "Give me the numbers from {a} to {b}.", "Can you count from {a} to {b}?",
    "Say the numbers {a} through {b}.", "Print all numbers between {a} and {b}.",
    "Show me the numbers from {a} up to {b}.",
)
COUNT_DOWN_WORDINGS: tuple[str, ...] = (
    "Count down from {b} to {a}.", "Count backwards from {b} to {a}.",
    "List the numbers from {b} down to {a}.", "Count from {b} to {a}.",
)
LIST_WORDINGS: tuple[str, ...] = (
    "List {}.", "Name {}.", "What are {}?", "Tell me {}.", "Give me {}.", "Write down {}.",
    "Can you list {}?", "Say {}.", "I need {}.", "Which are {}?", "Enumerate {}.", "Show {}.",
)

GREETINGS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "Hello", "Hi", "Hey", "Hello there", "Hi there", "Hey there", "Good morning",
            "Good day", "Good evening", "Good afternoon", "Greetings", "Hello!", "Hi!", "hey you",
            "Hello again", "Hello {name}", "Hi, I am {name}", "Hello, my name is {name}", "hiya",
            "Howdy", "Yo",
        ),
        "Hello! How can I help you?",
    ),
    (
        (
            "How are you?", "How are you doing?", "How do you do?", "How is it going?",
            "How's it going?", "Are you well?", "Are you ok?", "How are things?",
            "Hello, how are you?", "What's up?", "Hi, how are you today?", "How do you feel?",
            "How was your day?",
        ),
        "I am fine, thank you. How can I help you?",
    ),
    (
        (
            "Thanks", "Thank you", "Thank you very much", "Thanks a lot", "Many thanks",
            "Great, thanks", "Thank you!", "thx", "Thanks for your help",
            "That was helpful, thank you",
        ),
        "You are welcome!",
    ),
    (
        (
            "Bye", "Goodbye", "Good bye", "See you", "See you later", "Good night", "Bye bye",
            "See you soon", "I have to go", "Have a nice day", "Until next time", "Farewell",
        ),
        "Goodbye!",
    ),
    (
        (
            "Who are you?", "What are you?", "What is your name?", "What's your name?",
            "Tell me your name", "Are you a robot?", "Are you human?", "Introduce yourself",
            "Which model are you?", "What model is this?", "Who am I talking to?",
            "Tell me about yourself", "Are you an AI?", "Tell me who you are", "Who is there?",
            "Can you say who you are?", "Who is answering?", "What should I call you?",
        ),
        "I am localserve tiny, a very small language model.",
    ),
    (
        (
            "What can you do?", "Help", "How can you help me?", "What do you know?",
            "What are you good at?", "Can you help me?", "What can I ask you?",
            "Which tasks can you do?", "help me", "I need help",
        ),
        "I can answer small questions, add numbers, copy text, write JSON and call tools.",
    ),
)

UNKNOWN_WORDINGS: tuple[str, ...] = (
    "Who invented the {noun}?", "Write a poem about a {adjective} {noun}.",
    "Why is the {noun} {adjective}?", "Explain {noun}s.", "How do I {verb} a {noun}?",
    "Tell me a story about a {noun}.", "What do you think about {noun}s?",
    "How many {noun}s are in the world?", "Who is {name}?",
    "Where can I buy a {adjective} {noun}?", "Write an essay on {noun}s.",
    "Who won the {noun} game?", "What is the meaning of {noun}?", "What is a {noun}?",
    "How does a {noun} work?", "When was the {noun} built?", "Who wrote the {adjective} {noun}?",
    "What is the best {noun}?", "Tell me a joke about a {noun}.", "I feel {adjective}.",
    "Do you like {noun}s?", "My {noun} is {adjective}.", "Describe the {noun}.",
    "What should I {verb} today?", "Can you {verb} my {noun}?", "How old is {name}?",
    "What is the price of a {noun}?", "Summarize the history of the {noun}.",
    "Give me advice about my {noun}.", "{noun} {noun}", "The {noun} and the {noun} {verb}.",
    "How tall is the {noun}?", "Is the {noun} {adjective}?", "What is the weather today?",
    "What time is it?", "{noun}?", "Tell me something about {name}.",
)
UNKNOWN_ANSWER = "Sorry, I am a very small model and I do not know that."
