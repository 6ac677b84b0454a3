"""What `household.py` builds its questions and made-up answers from: relations, fillers, answers.

Plain data, written by hand for this project. A block of `RELATIONS` is `name : kinds of fillers : kind of
answer`, then
one way to ask a line, in the parts of `household.Way`. The order decides what a seed draws.
"""

from __future__ import annotations

from ember import words


def _listed(text: str, separator: str = ",") -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(separator) if part.strip())


RELATIONS = """
place of a thing : thing : place
where | is | {x} | kept
where | did | we | put | put | {x}
where | can | I | find | can find | {x}
where | do | you | keep | keep | {x}

place of things : things : place
where | are | {x}
where | are | {x} | kept
where | did | we | put | put | {x}
where | can | I | find | can find | {x}

place left : thing person : place
where | did | {y} | put | put | {x}
where | did | {y} | leave | left | {x}

place bought : thing : shop
where | did | we | buy | bought | {x}
where | did | we | get | got | {x}

place stored : thing person : place
where | does | {y} | store | stores | {x}
where | does | {y} | keep | keeps | {x}

place hidden : thing person : place
where | did | {y} | hide | hid | {x}

place parked : vehicle person : place
where | did | {y} | park | parked | {x}

place of living : person : street
where | does | {x} | live | lives

place of sleep : pet : place
where | does | {x} | sleep | sleeps

place of training : person : shop
where | does | {x} | train | trains

place of meeting : club : shop
where | does | {x} | meet | meets

waters when : plants season : person
who | | | water | waters | {x} | {y}

walks : pet : person
who | | | walk | walks | {x}

cuts : plants : person
who | | | cut | cuts | {x}

mows : ground : person
who | | | mow | mows | {x}

cleans : room : person
who | | | clean | cleans | {x}

paints : room : person
who | | | paint | paints | {x}

fixes : thing : person
who | | | fix | fixes | {x}
who | | | repair | repairs | {x}

checks : thing : person
who | | | check | checks | {x}

pays : bill : person
who | | | pay | pays | {x}

brings : food : person
who | | | bring | brings | {x}

makes : food : person
who | | | make | makes | {x}

cooks on a day : day : person
who | | | cook | cooks | | on {x}

drives on a day : day : person
who | | | drive | drives | | on {x}

has : thing : person
who | | | | has | {x}

borrowed : thing : person
who | | | | borrowed | {x}

built : thing : person
who | | | | built | {x}

found : thing : person
who | | | | found | {x}

gave us : thing : person
who | | | | gave us | {x}

sold us : thing : person
who | | | | sold us | {x}

is our : role : person
who | is | {x}

teaches : subject : person
who | | | teach | teaches | {x}

name of a pet : pet : name
what | is | the name of {x}
what | is | {x} | called | is called

name of a thing : thing : name
what | is | the name of {x}
what | is | {x} | called | is called
what | did | we | name | named | {x}

name of a club : club : name
what | is | the name of {x}
what | is | {x} | called | is called

code : device : code
what | is | the code of {x}
what | is | {x}'s code
what | is | {x} code

password : device : code
what | is | {x}'s password
what | is | {x} password
what | is | the password for {x}

secret : secret : code
what | is | {x}

number at : place : code
what | is | our number | | | | at {x}
what | is | our customer number | | | | at {x}

brand : thing : name
what | is | the brand of {x}
what | is | {x}'s brand

motto : club : phrase
what | is | the motto of {x}
what | is | {x}'s motto

address : club : street
what | is | the address of {x}
what | is | {x}'s address

phone : person : number
what | is | {x}'s phone number
what | is | the phone number of {x}

nickname : person : name
what | is | {x}'s nickname

favourite : person kind : thing
what | is | {x}'s favourite {y}

favourite of a pet : pet kind : thing
what | is | {x}'s favourite {y}

job : person : job
what | is | the job of {x}

colour : thing : colour
what | is | the colour of {x}
which colour | is | {x}

colour of a room : room : colour
what | is | the colour of {x}

size : thing : size
what size | is | {x}
how big | is | {x}

size of things : things : size
what size | are | {x}
which size | are | {x}

shoes : person : size
what size | are | {x}'s shoes

eats : person : food
what | does | {x} | eat | eats

does not eat : person : food
what | does | {x} | not eat | does not eat
what | doesn't | {x} | eat | doesn't eat

likes : person : food
what | does | {x} | like | likes

wants : person event : thing
what | does | {x} | want | wants | | for {y}

plays : person : thing
what | does | {x} | play | plays

pet eats : pet : food
what | does | {x} | eat | eats

brought : person place : thing
what | did | {x} | bring | brought | | from {y}

forgot : person place : thing
what | did | {x} | forget | forgot | | at {y}

gave : person person : thing
what | did | {x} | give | gave | {y}

promised : person person : phrase
what | did | {x} | promise | promised | {y}

cook on : day : food
what | do | we | cook | cook | | on {x}
what | do | we | eat | eat | | on {x}

do on : day : phrase
what | do | we | do | do | | on {x}

when event : event : time
when | is | {x}
what time | is | {x}

day of event : event : day
what day | is | {x}
which day | is | {x}
on which day | is | {x}

event begins : event : time
when | does | {x} | begin | begins
what time | does | {x} | start | starts

vehicle leaves : traffic : time
when | does | {x} | leave | leaves
what time | does | {x} | leave | leaves

vehicle arrives : traffic : time
when | does | {x} | arrive | arrives

leaves for : traffic place : time
when | does | {x} | leave | leaves | | for {y}

opens : place : time
when | does | {x} | open | opens

closes : place : time
when | does | {x} | close | closes

birthday : person : date
when | is | the birthday of {x}
when | was | {x} | born

wedding : person event : date
when | is | {x}'s {y*}

comes : person : time
when | does | {x} | come | comes
when | does | {x} | come home | comes home

gets up : person : time
when | does | {x} | get up | gets up
what time | does | {x} | get up | gets up

collected : bin : day
when | is | {x} | collected
which day | is | {x} | collected
what day | is | {x} | collected

bought when : thing : date
when | did | we | buy | bought | {x}

serviced when : thing : date
when | was | {x} | serviced

price : thing : price
how much | does | {x} | cost | costs
how much | is | {x}

price of an event : event : price
how much | does | {x} | cost | costs
how much | is | {x}

long : event : duration
how long | does | {x} | take | takes

order : food : amount
how much {x} | do | we | order | order
how much {x} | do | we | buy | buy

many : things : amount
how many | are | {x}
how many of | are | {x}

wants many : person goods : amount
how many {y} | does | {x} | want | wants

reset : device : way
how | do | I | reset | reset | {x}
how | can | I | reset | can reset | {x}

turn on : device : way
how | do | I | turn on | turn on | {x}
how | can | I | start | can start | {x}

open : device : way
how | do | we | open | open | {x}

clean how : thing : way
how | do | I | clean | clean | {x}
how | do | we | clean | clean | {x}

goes to : traffic place : number
what {x} | | | go | goes | to {y}

bin goes out : day : colour
which bin | | | go | goes | out | on {x}
what bin | | | go | goes | out | on {x}

key opens : device : colour
which key | | | open | opens | {x}
what key | | | open | opens | {x}

shop sells : goods : shop
what shop | | | sell | sells | {x}
where | do | we | buy | buy | {x}

shelf : things : place
which shelf | | | hold | holds | {x}
which cupboard | | | | has | {x}
which drawer | | | | has | {x}

we go to : visited : person
which {x} | do | we | go to | go to
what {x} | do | we | go to | go to
which {x} | do | we | use | use

on the wall : kind room : name
which {x} | is | on {y}
what {x} | is | on {y}

why locked : room : phrase
why | is | {x} | locked
why | is | {x} | cold
why | is | {x} | closed

why off : device : phrase
why | is | {x} | off
why | is | {x} | broken

went : person season : place
where | did | {x} | go | went | | {y}

meet on : person day : place
where | do | we | meet | meet | {x} | on {y}

rule : thing : phrase
what | is | the rule for {x}
what | is | the rule about {x}
"""

COMMON_RELATIONS = (
    "place of a thing",
    "place of things",
    "name of a pet",
    "code",
    "password",
    "secret",
    "birthday",
    "favourite",
    "when event",
    "is our",
    "fixes",
    "has",
    "waters when",
    "colour",
    "collected",
    "opens",
    "vehicle leaves",
    "event begins",
    "phone",
    "eats",
    "reset",
)

RESERVED = frozenset(
    _listed(
        """
        spare key, sewing box, fuse box, old trunk, tool chest, medicine cabinet, wine rack, camera bag, bike
        lock, snow shovel, tent poles, piano lid, coin jar, paint cans, glass jar, letter opener, guitar case,
        travel iron, chess set, roof hatch, garden gate, party lights, rowing machine, cuckoo clock, silver
        tray, telescope, accordion, sledge, lawn mower, picnic basket, typewriter, carnival mask, wool blanket,
        slide projector, bread knife, fishing rod, birdhouse, stamp album, ice skates, copper kettle, globe,
        hammock, roses, tomatoes, ferns, orchids, lilies, beans, herbs, cactuses, violets, lemons, canary,
        tortoise, hamster, goldfish, kitten, donkey, ferret, gecko, Tobias, Marlene, Aunt Ruth, Piotr, Ayla,
        Jonas, Beatrix, Uncle Sam, Leonie, Kofi, Signe, Darius, Paula, Yusuf, Henrike, Milo, Cousin Ida, Rashid,
        Noemi, Gustav, Tante Erika, Oleg, Priya, Fabian, Wanda, Mr Lund, Chloe, Emre, Solveig, Ignacio, Zofia,
        Bram, book club, choir practice, judo class, flea market, team meeting, swim course, tax audit, pottery
        class, street party, reading hour, quiz night, film evening, harvest fair, chess cup, parents evening,
        night walk, blood drive, open day, bake sale, yoga retreat, science fair, spring concert, printer,
        dishwasher, thermostat, doorbell, coffee grinder, heat pump, router, freezer, solar panel, water filter,
        sewing machine, intercom, a escada, o martelo, a chave reserva, o guarda-chuva, a mala azul, o secador,
        a lanterna, o ferro, a tesoura, o balde, o jardim, a horta, o gato preto, a piscina, o aquário, a
        biblioteca, o forno, a bicicleta, o pomar, a barca, o trem das serras, o carro de Zeca, a van da escola,
        o avião de Lia, Joana, Tiago, Marta, Rui, Dona Lúcia, Vasco, Inês, Bento, Rodrigo, Teresa, Caio,
        Benedita, Otávio, Luana, Seu Jorge, a padaria, o mercado velho, a farmácia, a oficina, o correio, o
        sapateiro, o teatro
        """
    )
)
"""What the teaching benchmark asks about: no made-up fact does, so it measures what was never trained."""

ADJECTIVES = _listed(
    """
    big, small, old, new, red, blue, green, black, white, yellow, good, spare, second, long, short, heavy,
    light, wooden,
    metal, silver, round, square, broken, winter, summer, garden, kitchen, bathroom, camping, travel,
    Christmas, baby,
    guest, office, electric, paper, plastic, glass, front, back, attic, cellar, hedge, bread, coffee, tea, wine
    """
)

NOUNS = _listed(
    """
    key, box, bag, lamp, knife, ladder, drill, pump, rope, basket, blanket, towel, bucket, brush, tent,
    chair, table, kettle,
    pan, pot, bowl, cup, jar, map, book, folder, letter, passport, ticket, card, charger, cable, battery,
    bulb, fuse, hammer, saw,
    screwdriver, tape, glue, paint, candle, torch, umbrella, coat, hat, scarf, suitcase, stroller, helmet,
    ball, net, kite, game,
    puzzle, camera, radio, piano, guitar, violin, telescope, fan, heater, mixer, toaster, iron, mop, broom,
    hose, spade, rake,
    trimmer, mower, cushion, carpet, curtain, mirror, clock, vase, picture, shelf, drawer, cabinet, bench,
    swing, sled, skate,
    medicine, plaster, thermometer, kit, sponge, soap, napkin, tray, spoon, grater, sieve, scale, notebook,
    stamp, pen, stapler
    """
)

FILLERS: dict[str, tuple[str, ...]] = {
    "thing": (
        *(thing for thing in words.THINGS if not thing.endswith("s")),
        *_listed(
            """
            first aid kit, fuse box, tool box, water meter, gas meter, main tap, stop valve, sewing machine,
            coffee machine,
            washing machine, dishwasher, vacuum cleaner, lawn mower, chain saw, hedge trimmer, ironing
            board, air pump, car jack, cool
            box, picnic basket, birth certificate, insurance card, tax letter, rent contract, library card,
            spare wheel, ice scraper,
            door mat, front door, back door, garage, fence, gate, roof, gutter, chimney, boiler, heating,
            stove, oven, fridge,
            freezer, sofa, caravan, trailer, boat, canoe, tent, bike, scooter, pram
            """
        ),
    ),
    "things": (
        *(thing for thing in words.THINGS if thing.endswith("s")),
        *_listed(
            """
            scissors, keys, car keys, papers, tax papers, stamps, envelopes, glasses, plates, spoons,
            knives, towels, sheets, blankets,
            pillows, boots, gloves, skates, skis, tools, nails, screws, fuses, bulbs, cables, chargers,
            bandages, plasters,
            pills, seeds, pots, jars, bottles, cookies, photos, records, chairs, tyres, curtains, shoes,
            coins, vouchers, tickets, maps,
            filters, coffee filters, bin bags, clothes pegs, guest towels, sleeping bags, tent pegs, baking
            trays
            """
        ),
    ),
    "person": (
        *words.PEOPLE,
        *_listed(
            """
            Ada, Adam, Agnes, Albert, Alma, Amir, Anton, Beatriz, Bruno, Carla, Carlos, Charlotte, Daniel,
            Diana, Edith, Elena, Elias,
            Elsa, Erik, Eva, Fatima, Finn, Frank, Freya, George, Greta, Grace, Hans, Helena, Henry, Hugo,
            Ines, Inga, Jack, Jakob, James,
            Jana, Julia, Kai, Karim, Klara, Lara, Laura, Lily, Louis, Lucia, Luis, Magda, Marco, Marta, Max,
            Miguel, Milo, Nadia, Nils,
            Nina, Olivia, Otto, Pablo, Pedro, Peter, Petra, Rita, Robin, Rosa, Ruth, Sam, Samuel, Sasha,
            Simon, Stella, Tara, Thomas,
            Tilda, Uma, Vera, Victor, Viktor, Walter, Wanda, Xavier, Yara, Yusuf, uncle Theo, uncle Max,
            uncle Jim, aunt Rosa,
            aunt Vera, aunt May, grandma, grandpa, mum, dad, the teacher, the neighbour, the landlord, my
            sister, my brother, our
            cousin, the nurse, the coach, the gardener, the plumber, the cleaner, the babysitter
            """
        ),
    ),
    "pet": (
        *words.PETS,
        *_listed(
            """
            goat, ferret, tortoise, canary, budgie, guinea pig, hen, donkey, lamb, puppy, kitten,
            mouse, gecko, cow, goose
            """
        ),
    ),
    "plants": _listed(
        """
        roses, plants, flowers, herbs, tomatoes, ferns, orchids, tulips, cacti, hedges, bushes,
        strawberries, beans, lilies, trees,
        balcony plants, house plants, apple trees, sunflowers, vines
        """
    ),
    "ground": _listed(
        """
        lawn, grass, meadow, garden, football field, yard, strip by the road, front garden, hill
        """
    ),
    "season": _listed(
        """
        in summer, in winter, in spring, in autumn, on holidays, on weekends, at night, last
        summer, last year, in July, in August
        """
    ),
    "room": _listed(
        """
        kitchen, kitchen wall, bathroom, bathroom wall, hall, attic, cellar, garage, study, bedroom, guest
        room, living room, dining
        room, balcony, terrace, shed, office, pantry, stairs, hallway, laundry room, workshop, porch, blue
        room, nursery, bike shed
        """
    ),
    "bill": _listed(
        """
        rent, water bill, gas bill, power bill, internet, phone bill, insurance, newspaper, gym,
        parking, music lesson, school lunch, car tax
        """
    ),
    "food": _listed(
        """
        bread, milk, cake, salad, soup, pizza, rice, pasta, cheese, fish, jam, juice, coffee, tea, wine,
        water, honey, butter, flour, yogurt,
        rye bread, apple pie, carrot cake, ice cream, dessert, breakfast, lunch, dinner
        """
    ),
    "goods": _listed(
        """
        eggs, apples, plums, pears, pretzels, rolls, cookies, tickets, stamps, candles, nails, screws,
        pencils, balloons, bags, chairs,
        plates, bottles, cards, tomatoes, onions, lemons, tulips, seeds
        """
    ),
    "day": (
        *words.DAYS,
        *(day + "s" for day in words.DAYS),
        "weekends",
        "the weekend",
        "holidays",
        "Christmas Eve",
        "birthdays",
    ),
    "vehicle": _listed(
        """
        car, van, caravan, bike, scooter, trailer, truck, motorbike, boat, camper, red car, old car
        """
    ),
    "role": _listed(
        """
        plumber, electrician, doctor, dentist, vet, landlord, neighbour, gardener, cleaner, babysitter,
        accountant, lawyer, teacher,
        piano teacher, coach, hairdresser, mechanic, chimney sweep, postman, painter, carpenter, baker,
        boss, tax adviser, tenant
        """
    ),
    "visited": _listed(
        """
        doctor, dentist, vet, gym, bakery, church, garage, pharmacy, hairdresser, library, pool,
        school, butcher, market, bank, optician
        """
    ),
    "subject": _listed(
        """
        maths, music, French, Spanish, piano, chess, swimming, art, history, sport, German, biology,
        dance, yoga, judo
        """
    ),
    "club": _listed(
        """
        chess club, rowing club, book club, choir, football team, sailing club, garden club, band, school,
        swimming club, tennis club,
        theatre group, scouts group, running group, family firm, parents group, street, village, boat
        """
    ),
    "device": _listed(
        """
        router, printer, alarm, garage door, front door, gate, safe, bike lock, laptop, tablet, phone,
        computer, TV, radio, heating,
        boiler, stove, oven, dishwasher, washing machine, dryer, coffee machine, robot, vacuum, thermostat,
        camera, doorbell, lamp,
        fridge, freezer, car, scooter, lift, shed, letter box, suitcase, cellar door, weather app, bank app,
        school app, music app,
        telescope, pump, sprinkler, piano, game console, e-reader, skylight, tent, wifi, guest wifi, server,
        smoke alarm
        """
    ),
    "secret": (
        *words.SECRETS,
        *_listed(
            """
            alarm word, safe word, wifi name, bank code, pin of the card, door word, account number,
            tax number, secret word, plate number
            """
        ),
    ),
    "place": _listed(
        """
        the library, the pool, the bank, the clinic, the school, the station, the market, the bakery, the
        museum, the zoo, the
        harbour, the airport, the office, the stadium, the waterworks, the cinema, the post office, the gym,
        the farm, the church,
        Ghent, Delft, Porto, Lisbon, Oslo, Bern, Kyoto, Boston, Rome, Aldra, Brenn, Lomira, the island, the
        lake, town, the city
        """
    ),
    "kind": _listed(
        """
        colour, food, book, song, cake, place, film, game, toy, tea, drink, fruit, sport,
        flower, animal, season, word, number, picture, clock, lamp, paint
        """
    ),
    "event": (
        *words.EVENTS,
        *_listed(
            """
            birthday party, party, wedding, concert, recital, exam, match, race, parents meeting, yoga
            class, dance class, piano lesson,
            cello lesson, riding lesson, swimming lesson, choir evening, school play, dinner, breakfast,
            meeting, interview, flight, trip,
            picnic, barbecue, market, sale, festival, check-up, vet visit, haircut, delivery, inspection,
            Christmas, anniversary
            """
        ),
    ),
    "traffic": _listed(
        """
        bus, train, tram, ferry, boat, plane, school bus, night train, first bus, last bus,
        first train, last train, express, shuttle, taxi
        """
    ),
    "bin": _listed(
        """
        bin, paper bin, yellow bin, glass, rubbish, recycling, garbage, parcel, post, laundry, old
        paper, brown bin, bulky waste
        """
    ),
}

ANSWERS: dict[str, tuple[str, ...]] = {
    "place": (
        "{prep} the {adjective} {noun}.",
        "{prep} the {noun}.",
        "In the {room}, {ordinal} {container}.",
        "In the {room}.",
        "In the {adjective} {container}.",
        "{prep} the {noun} in the {room}.",
        "It is {prep} the {noun}.",
        "In the {room}, behind the {noun}.",
        "With {person}.",
        "{prep} the {room} {noun}.",
        "At {person}'s house.",
        "In {container} {number}.",
        "Left of the {noun}, {prep} the {container}.",
    ),
    "shop": (
        "At the {noun} {room}.",
        "In {town}.",
        "At {person}'s.",
        "The {adjective} {noun}, next to the {room}.",
        "In {town}, near the {noun}.",
        "At the {town} {noun} shop.",
    ),
    "street": (
        "{town}, {noun} street {number}.",
        "At {number} {noun} lane.",
        "In {town}.",
        "{noun} road {number}.",
        "{prep} the {noun} in {town}.",
    ),
    "person": (
        "{person} does.",
        "{person}.",
        "Mr. {person} from {town}.",
        "Our neighbour {person}.",
        "Mrs {person}, phone {number} {number} {digit}{digit}.",
        "{person} and {person}.",
        "{person} from the {noun} shop.",
        "Dr. {person}.",
        "{person}, every {day}.",
        "The {person} family.",
        "It is {person}.",
        "{person}, of course.",
    ),
    "name": (
        "{person}.",
        "It is called {noun}-{noun}.",
        "Her name is {person}.",
        "His name is {person}.",
        "{adjective} {noun}",
        "{noun} number {number}.",
        "Captain {person}",
        "We call it {person}.",
        "{x} {person}",
    ),
    "code": (
        "{digit}{digit}{digit}{digit}",
        "The code is {digit}{digit}{digit}{digit}.",
        "{noun}-{noun}-{number}",
        "{letters}-{digit}{digit}{digit}{digit}",
        "It is {digit} {digit} {digit} {digit}.",
        "{noun}{number}",
        "The word is {noun}.",
        "{noun} {noun} {noun}",
        "{letters} {number} {letters}",
        "{adjective}-{noun}-{number}",
    ),
    "number": (
        "{digit}{digit}{digit} {digit}{digit}{digit}{digit}",
        "Number {number}.",
        "Line {number}.",
        "0{number} {digit}{digit}{digit}{digit}",
        "The {number}.",
        "Line {number}, towards {town}.",
    ),
    "phrase": (
        "{adjective} {noun}, {adjective} {noun}.",
        "Because of the {noun}.",
        "Never {verb} the {noun}.",
        "We {verb} the {noun}.",
        "The {noun} is {adjective}.",
        "First {verb}, then {verb}.",
        "Because {person} has the {noun}.",
        "No {noun} after {hour}.",
    ),
    "thing": (
        "A {adjective} {noun}.",
        "{noun} and {noun}.",
        "The {noun}.",
        "{adjective} {noun}s.",
        "{noun}",
        "A {noun} from {town}.",
        "{food}.",
        "The {adjective} one.",
        "Two {noun}s.",
    ),
    "job": (
        "A {noun} maker.",
        "{verb}s in a {room}.",
        "At the {noun} shop.",
        "A pilot.",
        "A nurse in {town}.",
        "Teacher.",
    ),
    "colour": (
        "{adjective} {noun}.",
        "{colour}.",
        "{colour}, like the {noun}.",
        "Dark {colour}.",
        "The {colour} one.",
        "{colour} with {colour}.",
        "The {colour} {noun}.",
    ),
    "size": (
        "{number} x {number}.",
        "{number}.",
        "Size {number}.",
        "They are {number}.",
        "About {number} metres.",
        "{letters}, {colour}.",
    ),
    "food": (
        "{food}.",
        "{food} and {food}.",
        "{food} with {food}.",
        "No {food}.",
        "{x}: {food}.",
        "Only {food}.",
        "{food} 🍕",
        "{adjective} {food}.",
        "{food} from {town}.",
    ),
    "time": (
        "At {hour}:{minute}.",
        "At {hour} o'clock.",
        "At {hour}:{minute} on {day}.",
        "{hour}:{minute}",
        "On {day}, {hour}:{minute}.",
        "Half past {hour}.",
        "Every {day} at {hour}.",
        "Around {hour}.",
    ),
    "day": (
        "On {day}.",
        "Every {day}.",
        "Every second {day}.",
        "{day}.",
        "{day}, before {hour}.",
        "On {day} and {day}.",
        "The first {day} of {month}.",
    ),
    "date": (
        "On {month} {number}.",
        "In {month}.",
        "On the {number}th of {month}.",
        "{number} {month}.",
        "{day}, {number} {month}.",
        "In {month} 20{number}.",
    ),
    "age": (
        "{number}.",
        "{number} years.",
        "Almost {number}.",
        "{number} in {month}.",
        "{person} says {number}.",
    ),
    "price": (
        "{number} euros.",
        "{number}.{digit}0 a month.",
        "About {number} euros.",
        "{number} dollars, cash.",
        "Nothing.",
        "{number} francs.",
    ),
    "duration": ("{number} minutes.", "About {number} minutes.", "{number} hours.", "Until {hour}."),
    "weight": ("{number} kilos.", "{number} grams.", "About {number} pounds."),
    "amount": (
        "{number}.",
        "{number} {noun}s.",
        "{number}, {colour} ones.",
        "{number} every {day}.",
        "Only {digit}.",
        "{number} a week.",
    ),
    "way": (
        "Press the {colour} {noun}.",
        "Hold the {noun}\nfor {number} seconds.",
        "Turn the {noun} {direction}.",
        "{verb} the {noun}, then {verb}.",
        "With the {adjective} {noun}.",
        "Ask {person}.",
        "Twice {direction}, once {direction}.",
    ),
}

ANSWER_WORDS: dict[str, tuple[str, ...]] = {
    "prep": (
        "under",
        "behind",
        "on",
        "in",
        "next to",
        "above",
        "inside",
        "over",
        "on top of",
        "below",
        "beside",
    ),
    "adjective": (
        *ADJECTIVES,
        *_listed(
            """
        warm, tiny, happy, quiet, steady, soft, sunny, brave, slow, golden, brass, pale, dark, grey,
        striped
        """
        ),
    ),
    "noun": (*NOUNS, *words.WORDS),
    "room": FILLERS["room"],
    "container": _listed(
        """
        drawer, box, shelf, cupboard, bag, tin, cabinet, basket, chest, jar, folder, bucket, trunk,
        locker
        """
    ),
    "ordinal": words.ORDINALS[:5],
    "person": FILLERS["person"],
    "town": _listed(
        """
        Lisbon, Berlin, Porto, Bergen, Leipzig, Kraków, Malmö, Zürich, Brno, Basel, Graz, Lomira,
        Sandvik, Delft, Riga, Turin, Köln, Évora, Cádiz
        """
    ),
    "day": words.DAYS,
    "month": words.MONTHS,
    "verb": _listed(
        """
        press, turn, push, pull, lift, open, close, shake, hold, wait, knock, clean, check, wash,
        cut, sing, walk, eat
        """
    ),
    "colour": _listed(
        """
        red, blue, green, yellow, black, white, brown, grey, pink, purple, orange, mint, silver,
        dark green, light blue
        """
    ),
    "direction": _listed("left, right, up, down"),
    "food": _listed(
        """
        peanuts, fish, rice, noodles, mushrooms, apples, hazelnuts, cheese, soup, beans, lentils,
        tofu, carrots, pizza, pancakes, plums, honey, eggs, tomatoes, Käsekuchen, Äpfel, porridge
        """
    ),
}
