"""The script of a character, by Unicode's property of that name: Latin, Thai, Han, …

Digits, punctuation, symbols and what is in none of the scripts here are one class, Common. Han, Hiragana and Katakana
are one, as in SentencePiece, because Japanese words mix them.
"""

import re
from functools import cache

import regex

INHERITED, COMMON = -1, 0  # INHERITED: a mark, which takes the script of the character before it
JAPANESE = ("Hani", "Hira", "Kana")
# ISO 15924 names of the scripts in Unicode 15; newer ones count as Common.
NAMES = re.findall(
    r"\w+",
    """
    Adlm Aghb Ahom Arab Armi Armn Avst Bali Bamu Bass Batk Beng Bhks Bopo Brah Brai Bugi Buhd Cakm Cans Cari Cham
    Cher Chrs Copt Cpmn Cprt Cyrl Deva Diak Dogr Dsrt Dupl Egyp Elba Elym Ethi Geor Glag Gong Gonm Goth Gran Grek
    Gujr Guru Hang Hani Hano Hatr Hebr Hira Hluw Hmng Hmnp Hung Ital Java Kali Kana Kawi Khar Khmr Khoj Kits Knda
    Kthi Lana Laoo Latn Lepc Limb Lina Linb Lisu Lyci Lydi Mahj Maka Mand Mani Marc Medf Mend Merc Mero Mlym Modi
    Mong Mroo Mtei Mult Mymr Nagm Nand Narb Nbat Newa Nkoo Nshu Ogam Olck Orkh Orya Osge Osma Ougr Palm Pauc Perm
    Phag Phli Phlp Phnx Plrd Prti Rjng Rohg Runr Samr Sarb Saur Sgnw Shaw Shrd Sidd Sind Sinh Sogd Sogo Sora Soyo
    Sund Sylo Syrc Tagb Takr Tale Talu Taml Tang Tavt Telu Tfng Tglg Thaa Thai Tibt Tirh Tnsa Toto Ugar Vaii Vith
    Wara Wcho Xpeo Xsux Yezi Yiii Zanb
    """,
)


def scripts_of(characters: str) -> dict[str, int]:
    """A number for the script of each character."""
    found = dict.fromkeys(characters, COMMON)
    found.update(dict.fromkeys(regex.findall(r"\p{Script=Zinh}", characters), INHERITED))
    for number, name in enumerate(NAMES, start=1):
        number = 1 + NAMES.index(JAPANESE[0]) if name in JAPANESE else number
        found.update(dict.fromkeys(_of(name).findall(characters), number))
    if "ー" in found:  # the long vowel of Katakana, which Unicode calls Common
        found["ー"] = 1 + NAMES.index(JAPANESE[0])
    return found


@cache
def _of(name: str) -> "regex.Pattern[str]":
    return regex.compile(rf"\p{{Script={name}}}")
