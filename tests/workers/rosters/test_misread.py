"""A file in another encoding is refused by the damage its names show; good names of Western Europe never are."""

import io

import pytest
from openpyxl import Workbook

from models.words import Code
from workers.rosters.misread import GIVEAWAYS, Giveaway, is_damaged
from workers.rosters.reader import ReadRoster, RosterRow, accented_names, read_roster
from workers.rosters.refused import RosterRefused

HEADER = "Nom;Prenom;E-mail;Remarque"


def file_of(names: str, encoding: str, remark: str = "") -> bytes:
    """Writes a file with a person for each word; the remark is in a column that is not used."""
    rows = [f"{name};Anne;a{place}@example.com;{remark}" for place, name in enumerate(names.split())]
    return "\r\n".join([HEADER, *rows]).encode(encoding)


def answer(data: bytes) -> ReadRoster | Code:
    try:
        return read_roster(data)
    except RosterRefused as refused:
        return refused.code


OTHER_ENCODINGS = [
    ("cp852", "Wałęsowski Łukasz Grażyna Michał Żółkiewicz"),
    ("cp1250 iso8859-2", "Wałęsowski Łukasz Świerczek Grażyna Michał Żółkiewicz Kamiński Leśniak Dębski Paweł"),
    ("cp1250 iso8859-2", "Dvořák Jiří Němec Zdeněk Kučera Horáček Řehoř Březina Růžička Zdeňka"),
    ("cp1250 iso8859-2", "Petrović Kovačič Đorđe Jurišić Babić"),
    ("cp1250 iso8859-2", "Gergő Erdős Szőke Szűcs Hegedűs Fűzfa Jenő"),
    ("cp1250 iso8859-16", "Ionuț Bălan Mădălina Răzvan Cătălin"),
    ("cp1251 koi8-r iso8859-5 cp866 mac-cyrillic", "Наталья Сергеевна Иван Ковальчук"),
    ("cp1253 iso8859-7 cp737", "Παπαδόπουλος Ωνάσης Ελένη"),
    ("cp1254 iso8859-9 cp857", "Şahinoğlu Ayşe Barış Yıldız Yılmaz Erdoğan Oğuz Tuğba Yağmur İbrahim DEMİR"),
    ("cp1255 iso8859-8", "כהן לוי שרה"),
    ("cp1256 iso8859-6", "محمد علي فاطمة"),
    ("cp1250 iso8859-2", "Kępa Stępniak Węgiel Vojtěch Vrťák"),
    ("cp1250", "Śliwa Ślusarczyk"),
    ("iso8859-2", "TOMÁŠ BENEŠ"),
    ("cp1254 iso8859-9", "Sarı Sarıkaya Akın Aslı Aslıhan Fırat Rıza Sıtkı Sırrı Kısa Tanrıverdi Doğru Dağdelen Ağa"),
    ("cp1257 iso8859-13", "Šimkus Žemaitis Bērziņš Kazlauskienė Čiurlionis Liepiņa"),
    ("cp874", "สมชาย"),
    ("shift_jis euc-jp", "田中さん 山本さん"),
    ("gbk big5 euc-kr", "李小龍"),
    ("mac-roman cp850", "José Léa Élodie Benoît Jérôme Brûlé Jörg FRANÇOIS Zoë Loïc López García"),
    ("cp437", "José Léa Élodie Benoît Jérôme Brûlé Jörg FRANÇOIS Zoë Loïc López García"),
    ("utf-8", "Lefébure Gœtzinger Nguyễn"),
]


@pytest.mark.parametrize(("encodings", "names"), OTHER_ENCODINGS, ids=lambda one: one.split()[0])
def test_one_name_in_another_encoding_is_enough_to_refuse_a_file(encodings: str, names: str) -> None:
    accepted = []
    for encoding in encodings.split():
        for name in names.split():
            try:
                data = file_of("Dûpont", "cp1252") + b"\r\n" + f"{name};Anne;a@b.fr;".encode(encoding)
            except UnicodeEncodeError:
                continue  # this encoding lacks a letter of the name
            if answer(data) is not Code.ENCODING_NOT_RECOGNISED:
                accepted.append((encoding, name))
    assert not accepted


@pytest.mark.parametrize("giveaway", GIVEAWAYS, ids=lambda one: one.because[:50])
def test_each_giveaway_is_shown_by_its_examples(giveaway: Giveaway) -> None:
    for example in giveaway.examples:
        assert is_damaged(example, "windows-1252"), example
        assert not giveaway.in_unicode or is_damaged(example, "utf-8"), example


GOOD_NAMES = {
    "French": """
        Lefèvre Hélène Noël Zoë Loïc Anaïs Aïé Thaïs Naïma Désirée Élodie ÉLÉONORE Ève Françoise Çelik
        Œuvrard Cœlia Lætitia Phœbe Schœlcher Kœnig Gœtz Wœrth Mœller L’Hostis d’Artagnan N’Guyen N'Guyen
        M’Barek Croÿ L’Haÿ Loÿs Ghÿs Où Benoît Lemaître Brûlé Dû Août Châtelain Têtu Crête Guèye Rivière
        Lièvre Maèl Maèva Gaètan Noè Joèl Éléa-Maÿ Jean–Paul “Momo” «Momo» Prud’homme aujourd’hui O‘Brien
        L´Hostis Bœuf Vœu Cœuré Sœur ŒUVRARD SŒUR Žára Šimic LEFéVRE JOSÉ Fañch Mañch Añjela Peyrebrune·s
        Rémy… Citroën Raphaël MAËL Naëlle Joëlle Zaïre Haïti Saül Ésaü Aurèle Mélèze Théïs Eléonor C’h
        Kérouédan Ñandou m² n°5
    """,
    "Portuguese": """
        João Conceição Magalhães Guimarães Simões Camões Leitão Assunções Gonçalves Antônio Íris Irmã Fernã
        Sebastião Luís Inês Lourenço Falcão Galvão Adrião Romão MARIA-JOÃO MAGALHÃES CAMÕES Mª Nª
    """,
    "Spanish": """
        Muñoz Núñez Ibáñez Íñigo Peña Cañón Peñíscola Argüelles Ordóñez Yáñez María José García Ángel MUÑOZ
        Güell Agüero Iñaki Begoña Nuñez PEÑA Mª Añó Ñáñez ÑÁÑEZ Ñúñez
    """,
    "Nordic": """
        Åsa Åke Øystein Ærø Bjørn Sørensen Møller Høeg Bøe Røed Kjær Bækgaard Biørn Kiøbenhavn Lilleø Äärilä
        Hämäläinen Mäkelä Töölö Jäätteenmäki Söderström Åström Østby Næss Skarsgård Trollsås Løvås Håøy Öö
        Kõiv Õnne Tõnis Jõgi Põder Tänak Üçok
    """,
    "Icelandic": """
        Þórður Þóra Þráinn Þuríður Þröstur Þjóðólfur Þengill Hafþór Steinþóra Eyþór Friðþjófur Arnþrúður
        Sigurður Guðrún Guðmundur Guðný Davíð Ragnheiður Hlöðver Auður Heiða Njörður Ástríður Böðvar Ýmir Ýr
        Dagný Oddný Signý Lýður Sæmundur Æsa Ægir Björk ÞÓRÐUR GUÐRÚN SIGURÐUR Óðinn Eiður Bragð Snæfríður
        Mýrdal Dýrleif Týr
    """,
    "German": """
        Müller Jörg Groß Weiß Füßl Süß Schäfer Jäger Böhm Übel Ölçer Öztürk Köhler STRAUß Größer Heß Preiß
        Gößl
    """,
    "Dutch": """
        Daniëlle Zoë Coëtzee Reünie Renée André Citroën Israël IJsbrand Geërts Bruÿn
    """,
    "Italian": """
        Niccolò Nicolò Josuè Giosuè Noè Mosè Forlì Tarallì Gesù Canà D’Angiò Cassarà Pietrò
    """,
    "Catalan": """
        Gal·la Sant·la Núria Lluís Mònica Antònia Vicenç Llorenç Gràcia Marçal Ràfols GAL·LA
    """,
    "Irish and Scottish": """
        Seán Síle Máire Ó-Súilleabháin Ní-Dhomhnaill Mícheál Mòrag Catrìona Mìcheal Seòras Sìne Dùghall
        Pádraig Ciarán Róisín MacÍomhair
    """,
    "Czech letters": """
        Nováková Novotný Veselý Malý Bílý Výborný Sýkora Hynek Týfa Dušan Aleš Tomaš Žižka Štefan Hašek
        Miloš
    """,
    "Turkish letters": """
        Özgür Güçlü Göçmen Küçük Çömez Gökçe Ünal Koç
    """,
    "Vietnamese letters": """
        Lê Võ Hà Thúy Lý Quý
    """,
    "Albanian": """
        Arbën Vlorë Lumturië Besë Çlirim Meçi
    """,
}


@pytest.mark.parametrize("language", GOOD_NAMES)
def test_good_names_of_western_europe_are_read(language: str) -> None:
    refused = [name for name in GOOD_NAMES[language].split() if not is_read(name, "cp1252")]
    assert not refused


@pytest.mark.parametrize("name", "Cœur Œuvre Šimon Ferré-Žižek Loÿs CŒUR L’Œil".replace("’", "'").split())
def test_good_names_in_iso_8859_15_are_read(name: str) -> None:
    assert is_read(name, "iso-8859-15")


def is_read(name: str, encoding: str) -> bool:
    found = answer(file_of(name, encoding))
    return isinstance(found, ReadRoster) and found.rows[0].last_name == name


@pytest.mark.parametrize("remark", ["ƒ(x)", "£ukasz ³ § ¶", "JosŽ ‚a", "LefÃ©bure", "Ñåðãåé", "½ ¾ ¼a", "‰ ™ •"])
def test_a_column_that_nobody_uses_is_not_judged(remark: str) -> None:
    roster = read_roster(file_of("Hélène Dûpont", "cp1252", remark))
    assert (roster.reading.encoding, roster.rows[0].last_name) == ("windows-1252", "Hélène")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
@pytest.mark.parametrize(
    "column",
    [
        *("Montant €HT", "Prix €TTC", "Coût k£", "£TTC", "Taille (µm)", "©Note", "§RGPD", "CO²eq", "Salarié¹"),
        *("Durée (½j)", "ƒ(x)", "‹été›"),
    ],
)
def test_signs_in_the_name_of_another_column_are_no_damage(column: str, encoding: str) -> None:
    text = file_of("Hélène Dûpont", "utf-8").decode().replace("Remarque", column)
    roster = read_roster(text.encode(encoding))
    assert roster.reading.encoding == ("windows-1252" if encoding == "cp1252" else "utf-8")
    assert [row.last_name for row in roster.rows] == ["Hélène", "Dûpont"]


def test_bytes_without_a_letter_spoil_no_other_column() -> None:
    data = file_of("Hélène Dûpont", "cp1252", "x").replace(b";x", b";\x81\x8d\x9d")
    assert [row.last_name for row in read_roster(data).rows] == ["Hélène", "Dûpont"]


def test_one_row_that_was_encoded_twice_refuses_the_file() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        data = file_of("Hélène LefÃ©bure Zoé", encoding)
        assert answer(data) is Code.ENCODING_NOT_RECOGNISED, encoding


def test_damage_in_a_workbook_refuses_it() -> None:
    for name in ("LefÃ©bure", "Wa³êsowski"):
        book = Workbook()
        book.active.append(["Nom", "Prénom", "E-mail"])
        book.active.append([name, "Anne", "a@example.com"])
        file = io.BytesIO()
        book.save(file)
        assert answer(file.getvalue()) is Code.ENCODING_NOT_RECOGNISED, name


def test_names_of_any_script_are_read_in_unicode() -> None:
    names = "Wałęsowski Świerczek Dvořák Şahinoğlu Yılmaz Ђорђе Παπαδόπουλος שרה محمد 李小龍 สมชาย Bērziņš Ionuț Trần"
    assert [row.last_name for row in read_roster(file_of(names, "utf-8")).rows] == names.split()


@pytest.mark.parametrize(
    "data",
    [
        "Nom;PrÃ©nom;E-mail\nDû;Zoé;z@b.fr".encode(),
        "Nom;Prénom;E-mail\nDu;Zoe;z@b.fr".encode("mac-roman"),
        "Nom;Prénom;E-mail\nDu;Zoe;z@b.fr".encode("cp850"),
        "Фамилия;Имя;E-mail\nDu;Zoe;z@b.fr".encode("cp1251"),
        "Nom;Prenom;E-mail;SociŽtŽ\nDu;Zoe;z@b.fr;x".encode("cp1252"),
    ],
    ids=["encoded twice", "MacRoman", "DOS", "Windows-1251", "another column of a MacRoman header"],
)
def test_a_damaged_header_is_told_as_such(data: bytes) -> None:
    assert answer(data) is Code.ENCODING_NOT_RECOGNISED


def test_the_first_accented_names_can_be_shown() -> None:
    reading = read_roster(file_of("Martin Žára Hélène Dupont Zoé", "cp1252")).reading
    assert reading.accented == (1, 2, 4)
    assert read_roster(file_of("Hélène", "utf-8")).reading.accented == ()
    rows = [RosterRow(2, "", "Zoé", "Žára"), RosterRow(3, "", "Zoé", "Dupont")]
    assert accented_names(rows) == ["Žára", "Zoé"]


def test_the_refusal_says_the_line_and_no_name() -> None:
    with pytest.raises(RosterRefused) as caught:
        read_roster(file_of("Dupont Wa³êsowski", "cp1252"))
    assert "line 3" in caught.value.detail
    assert "sowski" not in caught.value.detail
