"""
The labels that the publisher uses, each with the small code that the database keeps in its place.

Codes are frozen: a label keeps its code for ever, on every machine; a new label takes the next free one. The lists
are written to the `vocabulary` table by `stopsearch db migrate`. They are those measured over 1,170,539 published
rows; the publisher gives no closed list.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Label:
    """
    One label of one field: its code, the publisher's words, and the broad group that totals use.
    """

    code: int
    text: str
    group: str | None = None


def _plain(*texts: str) -> tuple[Label, ...]:
    return tuple(Label(code, text) for code, text in enumerate(texts, start=1))


def _grouped(*texts: tuple[str, str | None]) -> tuple[Label, ...]:
    return tuple(Label(code, text, group) for code, (text, group) in enumerate(texts, start=1))


_BLACK = "Black/African/Caribbean/Black British"
_MIXED = "Mixed/Multiple ethnic groups"

# One entry a field of a stop that holds a label. "Not stated" is no ethnic group: its group is unknown (None).
VOCABULARY: dict[str, tuple[Label, ...]] = {
    "type": _plain("Person search", "Vehicle search", "Person and Vehicle search"),
    "gender": _plain("Male", "Female", "Other"),
    "age_range": _plain("under 10", "10-17", "18-24", "25-34", "over 34"),
    "self_defined_ethnicity": _grouped(
        ("White - English/Welsh/Scottish/Northern Irish/British", "White"),
        ("White - Irish", "White"),
        ("White - Gypsy or Irish Traveller", "White"),
        ("White - Any other White background", "White"),
        (f"{_MIXED} - White and Black Caribbean", "Mixed"),
        (f"{_MIXED} - White and Black African", "Mixed"),
        (f"{_MIXED} - White and Asian", "Mixed"),
        (f"{_MIXED} - Any other Mixed/Multiple ethnic background", "Mixed"),
        ("Asian/Asian British - Indian", "Asian"),
        ("Asian/Asian British - Pakistani", "Asian"),
        ("Asian/Asian British - Bangladeshi", "Asian"),
        ("Asian/Asian British - Chinese", "Asian"),
        ("Asian/Asian British - Any other Asian background", "Asian"),
        (f"{_BLACK} - African", "Black"),
        (f"{_BLACK} - Caribbean", "Black"),
        (f"{_BLACK} - Any other Black/African/Caribbean background", "Black"),
        ("Other ethnic group - Arab", "Other"),
        ("Other ethnic group - Any other ethnic group", "Other"),
        ("Other ethnic group - Not stated", None),
    ),
    "officer_defined_ethnicity": _grouped(
        ("White", "White"), ("Black", "Black"), ("Asian", "Asian"), ("Other", "Other"), ("Mixed", "Mixed")
    ),
    "legislation": _plain(
        "Misuse of Drugs Act 1971 (section 23)",
        "Police and Criminal Evidence Act 1984 (section 1)",
        "Police and Criminal Evidence Act 1984 (section 6)",
        "Criminal Justice and Public Order Act 1994 (section 60)",
        "Firearms Act 1968 (section 47)",
        "Psychoactive Substances Act 2016 (s36(2))",
        "Psychoactive Substances Act 2016 (s37(2))",
        "Criminal Justice Act 1988 (section 139B)",
        "Poaching Prevention Act 1862 (section 2)",
        "Wildlife and Countryside Act 1981 (section 19)",
        "Customs and Excise Management Act 1979 (section 163)",
        "Aviation Security Act 1982 (section 27(1))",
        "Environmental Protection Act 1990 (section 34B )",
        "Deer Act 1991 (section 12)",
        "Crossbows Act 1987 (section 4)",
        "Hunting Act 2004 (section 8)",
        "Protection of Badgers Act 1992 (section 11)",
        "Public Stores Act 1875 (section 6)",
        "Conservation of Seals Act 1970 (section 4)",
        "Sporting Events Act 1985 (section 7)",
    ),
    "object_of_search": _plain(
        "Controlled drugs",
        "Offensive weapons",
        "Stolen goods",
        "Article for use in theft",
        "Articles for use in criminal damage",
        "Anything to threaten or harm anyone",
        "Evidence of offences under the Act",
        "Firearms",
        "Psychoactive substances",
        "Fireworks",
        "Game or poaching equipment",
        "Detailed object of search unavailable",
        "Goods on which duty has not been paid etc.",
        "Evidence of wildlife offences",
        "Crossbows",
        "Evidence of hunting any wild mammal with a dog",
        "Seals or hunting equipment",
    ),
    "outcome": _grouped(
        ("A no further action disposal", "No further action"),
        ("Arrest", "Arrest"),
        ("Community resolution", "Out-of-court disposal"),
        ("Khat or Cannabis warning", "Out-of-court disposal"),
        ("Penalty Notice for Disorder", "Out-of-court disposal"),
        ("Caution (simple or conditional)", "Out-of-court disposal"),
        ("Summons / charged by post", "Summons or charge"),
    ),
}

LABEL_FIELDS: tuple[str, ...] = tuple(VOCABULARY)


def labels_of(field: str) -> tuple[str, ...]:
    """
    Give the words of a field's labels, in the order of their codes.
    """
    return tuple(label.text for label in VOCABULARY[field])
