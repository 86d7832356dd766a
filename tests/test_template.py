"""The template language, and the prompts it makes: what is read, what is refused, what is cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pet_cli.errors import UserError
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.batch import Prompt, buckets, collate
from pet_cli.prompts.encoder import PromptEncoder
from pet_cli.prompts.template import Border, Field, Mask, Soft, Template, Text, parse_plain, plain_template

pytestmark = pytest.mark.xdist_group("families")

ModelOf = Callable[[str], MaskedLM]

quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- the language --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("{text} It was {mask}.", (Field("text"), Text(" It was "), Mask(), Text("."))),
        ("{mask}{text}", (Mask(), Field("text"))),
        ("{ mask } { text : strip , lower }", (Mask(), Text(" "), Field("text", strip=True, lower=True))),
        ("{a:strip}{b:lower}{c:keep}{mask}", (Field("a", True), Field("b", lower=True), Field("c", keep=True), Mask())),
        (
            "{a:strip}? | {mask}, {b:lower,keep}",
            (Field("a", strip=True), Text("?"), Border(), Mask(), Text(", "), Field("b", lower=True, keep=True)),
        ),
        ("{mask} {{x}} a||b", (Mask(), Text(" {x} a|b"))),
        ("||{{{mask}}}||", (Text("|{"), Mask(), Text("}|"))),
        ("{text}|||{mask}", (Field("text"), Text("|"), Border(), Mask())),
        ("{soft} {mask}", (Soft(), Text(" "), Mask())),
        ("{soft*20}{mask}", (Soft(20), Mask())),
        ('{soft:"It was"} {mask}', (Soft(text="It was"), Text(" "), Mask())),
        ('{soft@a*3} {mask} {soft@a*3}{soft@b:"so"}{soft@c}', None),
        ("{soft_text} {mask} {softness}", (Field("soft_text"), Text(" "), Mask(), Text(" "), Field("softness"))),
        ("{mask} and {mask}", (Mask(), Text(" and "), Mask())),
    ],
)
def test_a_template_is_read_into_its_parts(source: str, parts: tuple[object, ...] | None) -> None:
    parsed = Template.parse(source)
    if parts is None:
        assert parsed.soft == (
            Soft(3, name="a"),
            Soft(3, name="a"),
            Soft(text="so", name="b"),
            Soft(name="c"),
        )
    else:
        assert parsed.parts == parts
    assert parsed.source == source


def test_a_template_knows_its_fields_and_masks() -> None:
    parsed = Template.parse("{b} {a} {b:strip} {mask} {mask}")
    assert parsed.fields == ("b", "a")
    assert parsed.masks == 2


@pytest.mark.parametrize(
    ("source", "glued"),
    [
        ("{mask} {text}", False),
        ("{text} {mask}", False),
        ("({mask})", True),
        ("{text}{mask}", True),
        ("{text} | {mask}", False),
        ("{text}-|{mask}", False),
        ("It\t{mask}", False),
    ],
)
def test_a_mask_is_glued_where_no_space_stands_before_it(source: str, glued: bool) -> None:
    assert Template.parse(source).mask_without_space() is glued


@pytest.mark.parametrize(
    ("modifiers", "value", "shown"),
    [
        ("", "  It Was great!?  ", "It Was great!?"),
        ("strip", "It Was great!? \n", "It Was great"),
        ("strip", "很好。！", "很好"),
        ("strip", "a.b.", "a.b"),
        ("strip", "?!", ""),
        ("lower", "It Was", "it Was"),
        ("lower", "", ""),
        ("lower", "Élan", "élan"),
        ("strip,lower", "It was.", "it was"),
        ("keep", "It was.", "It was."),
    ],
)
def test_a_modifier_changes_the_text_of_its_field(modifiers: str, value: str, shown: str) -> None:
    field = Template.parse("{text:" + modifiers + "}{mask}").parts[0]
    assert isinstance(field, Field)
    assert field.value({"text": value}) == shown


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{text} {mask", "unbalanced '{'"),
        ("{text {mask}", "unbalanced '{'"),
        ("{", "unbalanced '{'"),
        ("text} {mask}", "unbalanced '}'"),
        ("{mask}}", "unbalanced '}'"),
        ("{tekst} {mask}", r"no field 'tekst'; the task's fields are text, other\. Did you mean 'text'\?"),
        ("{text} {mask} {masks}", r"no field 'masks'.* Did you mean 'mask'\?"),
        ("{text} {zzz} {mask}", r"no field 'zzz'; the task's fields are text, other\.$"),
        ("{text:strp} {mask}", r"unknown modifier 'strp' .*allowed are strip, lower, keep\. Did you mean 'strip'\?"),
        ("{text:strip,upper} {mask}", "unknown modifier 'upper'"),
        ("{text}", r"has no \{mask\}"),
        ("", r"has no \{mask\}"),
        ("{{mask}}", r"has no \{mask\}"),
        ("{text} | {mask} | {other}", r"more than one border '\|'"),
        ('{soft:""} {mask}', "is empty"),
        ('{soft:"  "} {mask}', "is empty"),
        ("{soft*0} {mask}", "cannot read"),
        ("{soft*x} {mask}", "cannot read"),
        ("{soft:It was} {mask}", "cannot read"),
        ('{soft@a b:"x"} {mask}', "cannot read"),
        ("{} {mask}", "cannot read"),
        ("{my text} {mask}", "cannot read"),
        ("{text!r} {mask}", "cannot read"),
    ],
)
def test_a_mistake_in_a_template_is_named(source: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Template.parse(source, ["text", "other"])
    assert f"template '{source}'" in str(error.value)


def test_a_template_that_is_no_text_is_refused() -> None:
    with pytest.raises(UserError, match="one line of text"):
        Template.parse(["{mask}"])  # type: ignore[arg-type]


def escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}").replace("|", "||")


@given(before=st.text(), behind=st.text())
@quick
def test_any_literal_text_can_be_written_by_doubling(before: str, behind: str) -> None:
    parts = Template.parse(escaped(before) + "{mask}" + escaped(behind)).parts
    literal = [part.text if isinstance(part, Text) else part for part in parts]
    assert literal == [part for part in (before, Mask(), behind) if part != ""]


@given(source=st.text(alphabet='{}|:,@*" maskoftxt1'))
@quick
def test_any_line_is_read_or_refused_in_words(source: str) -> None:
    try:
        parsed = Template.parse(source, ["text"])
    except UserError as error:
        assert source in str(error)
    else:
        assert parsed.masks >= 1 and set(parsed.fields) <= {"text"}


def test_the_plain_input_has_the_first_field_and_the_rest_behind_a_border() -> None:
    assert plain_template(["text"]) == "{text}"
    assert plain_template(["a", "b", "c"]) == "{a} | {b} {c}"
    assert parse_plain(plain_template(["a", "b"])).parts == (Field("a"), Border(), Field("b"))


# --- prompts -------------------------------------------------------------------------------------------------------


def encode(lm: MaskedLM, source: str, *rows: Mapping[str, str], length: int = 64) -> list[Prompt]:
    return PromptEncoder(lm.tokenizer, Template.parse(source), length).encode(rows)


FRAGMENTS = ["[MASK]", "<mask>", "MASK", "mask", "</s>", "[SEP]", "SEP", "<", ">", "[", "]", "/s", "{", "}", "{mask}"]
FRAGMENTS += [
    "|",
    "||",
    " ",
    "\n",
    "\t",
    "\x00",
    "\x1b",
    "\u200b",
    "\ufeff",
    "\xa0",
    "\ud800",
    "😀",
    "👩\u200d👧",
    "漢字",
]
FRAGMENTS += ["é", "e\u0301", "＜ｍａｓｋ＞", "▁", "Ġ", "##s", "great", "Film", "zebra", ".", "(", '"', ""]
texts = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=6)), max_size=8).map("".join)

SMUGGLERS = [
    "{a} It was {mask}.",
    "[{a}] {mask}",
    "<{a}>{mask}",
    "{a}{b} {mask}",
    "{mask}{a} | <{b}>",
    "{a}</{b}>{mask}",
]


@pytest.mark.parametrize("name", ["bert", "roberta", "xlmr", "albert", "modernbert"])
@given(a=texts, b=texts, source=st.sampled_from(SMUGGLERS), length=st.sampled_from([14, 64]))
@quick
def test_any_text_makes_a_prompt_with_one_mask(
    name: str, model_of: ModelOf, a: str, b: str, source: str, length: int
) -> None:
    lm = model_of(name)
    [empty, prompt] = encode(lm, source, {"a": "", "b": ""}, {"a": a, "b": b}, length=length)
    assert [prompt.ids[i] for i in prompt.masks] == [lm.tokenizer.mask_token_id]
    assert len(prompt.types) == len(prompt.ids) <= length
    structure = set(lm.tokenizer.all_special_ids) - {lm.tokenizer.unk_token_id}
    assert [i for i in prompt.ids if i in structure] == [i for i in empty.ids if i in structure]


@pytest.mark.parametrize(
    ("name", "source", "a", "b"),
    [
        ("bert", "[{a}] {mask}", "MASK", ""),
        ("bert", "{a}{b} {mask}", "[MA", "SK]"),
        ("bert", "{a}MASK] {mask}", "film [", ""),
        ("modernbert", "{mask} [{a}] {b}", "MASK", "[SEP]"),
        ("albert", "{a} {mask} | [{b}]", "", "MASK"),
        ("roberta", "<{a}> {mask}", "mask", ""),
        ("roberta", "{mask}</{a}>", "s", ""),
        ("xlmr", "<{a}{b}> {mask}", "ma", "sk"),
    ],
)
def test_a_text_forms_no_special_token_with_what_stands_around_it(
    name: str, source: str, a: str, b: str, model_of: ModelOf
) -> None:
    lm = model_of(name)
    [empty, prompt] = encode(lm, source, {"a": "", "b": ""}, {"a": a, "b": b})
    structure = set(lm.tokenizer.all_special_ids) - {lm.tokenizer.unk_token_id}
    assert [i for i in prompt.ids if i in structure] == [i for i in empty.ids if i in structure]
    assert [prompt.ids[i] for i in prompt.masks] == [lm.tokenizer.mask_token_id]


@pytest.mark.parametrize("name", ["bert", "roberta", "xlmr"])
def test_a_mask_written_as_text_is_read_as_text(name: str, model_of: ModelOf) -> None:
    lm = model_of(name)
    mask = lm.mask_token
    [prompt] = encode(lm, "{a} It was {mask}.", {"a": f"the {mask} film"})
    own = lm.tokenizer(f"the {mask[0]} {mask[1:]} film It was {mask}.")["input_ids"]
    assert prompt.ids == own


def test_a_template_with_the_models_mask_in_its_text_is_refused(model_of: ModelOf) -> None:
    with pytest.raises(UserError, match=r"'\[MASK\]' is the mask; write \{mask\}"):
        encode(model_of("bert"), "{a} [MASK] {mask}", {"a": ""})


# Words that are one token each, so that a prompt's length can be counted by hand.
WORD = "film"
LITERALS = ["so", "was", "it", ","]


def words(n: int, word: str = WORD) -> str:
    return " ".join([word] * n)


@given(a=st.integers(0, 40), b=st.integers(0, 40), c=st.integers(0, 40), length=st.integers(16, 40))
@quick
def test_the_longest_field_is_cut_first_and_a_kept_one_never(
    model_of: ModelOf, a: int, b: int, c: int, length: int
) -> None:
    lm = model_of("bert")
    tokenizer = lm.tokenizer
    c = min(c, length - 7)  # what is never cut must fit: [CLS] [SEP] [SEP] it was [MASK] ,
    source = "{a} it was {mask} , | {b} {c:keep}"
    [prompt] = encode(lm, source, {"a": words(a, "film"), "b": words(b, "plot"), "c": words(c, "story")}, length=length)
    shown = tokenizer.convert_ids_to_tokens(prompt.ids)
    left_a, left_b = shown.count("film"), shown.count("plot")

    segments = [*["film"] * left_a, "it", "was", "[MASK]", ",", "[SEP]", *["plot"] * left_b, *["story"] * c]
    assert shown == ["[CLS]", *segments, "[SEP]"]
    assert prompt.masks == (left_a + 3,)
    whole = a + b + c + 7
    assert len(shown) == min(length, whole)
    assert prompt.cut == whole - len(shown)
    for own, left, other in ((a, left_a, left_b), (b, left_b, left_a)):
        assert left == own or left >= other - 1, "a field was cut though the other is longer"
    assert prompt.types == [0] * (left_a + 6) + [1] * (left_b + c + 1)


@pytest.mark.parametrize("name", ["roberta", "xlmr", "albert", "deberta", "deberta-v2", "modernbert", "mpnet"])
@pytest.mark.parametrize("gap", [" ", "  ", "\n\n", " . "])
def test_a_shortened_prompt_is_exactly_as_long_as_allowed_and_keeps_its_literal_text(
    name: str, gap: str, model_of: ModelOf
) -> None:
    lm = model_of(name)
    source = "{a} It was {mask}, so | {b:keep} ({c})"
    row = {"a": gap.join(["the film"] * 30), "b": "maybe it is", "c": gap.join(["a zebra"] * 10)}
    [empty] = encode(lm, source, {**row, "a": "", "c": ""})
    for length in range(len(empty.ids) + 4, 60, 5):
        [prompt] = encode(lm, source, row, length=length)
        assert len(prompt.ids) == len(prompt.types) == length
        left = iter(prompt.ids)
        assert all(token in left for token in empty.ids if token != lm.tokenizer.unk_token_id), "literal text is gone"
        assert [prompt.ids[i] for i in prompt.masks] == [lm.tokenizer.mask_token_id]


def test_a_field_is_cut_from_its_end(model_of: ModelOf) -> None:
    lm = model_of("bert")
    [prompt] = encode(lm, "{a} was {mask}", {"a": "the film so bad maybe great"}, length=8)
    assert lm.tokenizer.convert_ids_to_tokens(prompt.ids) == [
        "[CLS]", "the", "film", "so", "bad", "was", "[MASK]", "[SEP]",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["bert", "roberta", "xlmr", "albert", "deberta", "deberta-v2", "modernbert", "mpnet"])
def test_a_field_can_be_cut_to_nothing(name: str, model_of: ModelOf) -> None:
    lm = model_of(name)
    row = {"a": "great good"}
    [whole] = encode(lm, "it {a} was {mask}", row)
    words = [lm.tokenizer(f"it {word}", add_special_tokens=False)["input_ids"][-1] for word in ("great", "good")]
    [prompt] = encode(lm, "it {a} was {mask}", row, length=len(whole.ids) - 2)
    assert prompt.ids == [token for token in whole.ids if token not in words]


def test_an_empty_second_segment_keeps_its_border_when_the_first_is_cut(model_of: ModelOf) -> None:
    lm = model_of("bert")
    [prompt] = encode(lm, "{a} {mask} | {b}", {"a": words(30), "b": ""}, length=12)
    shown = lm.tokenizer.convert_ids_to_tokens(prompt.ids)
    assert shown == ["[CLS]", *["film"] * 8, "[MASK]", "[SEP]", "[SEP]"]


@pytest.mark.parametrize("source", ["{a:keep} it was {mask}", "it was so great , it was so great and {a} {mask}"])
def test_a_template_longer_than_allowed_is_refused_with_the_length_it_takes(source: str, model_of: ModelOf) -> None:
    with pytest.raises(UserError, match=r"trainer.max_length=8: .* never shortened takes \d+ tokens"):
        encode(model_of("bert"), source, {"a": words(20)}, length=8)


def test_soft_tokens_are_numbered_along_the_template_and_shared_by_name(model_of: ModelOf) -> None:
    lm = model_of("roberta")
    encoder = PromptEncoder(lm.tokenizer, Template.parse('{soft@p*2}{a} {soft:"so great"} {mask} {soft@p*2}'), 64)
    [prompt] = encoder.encode([{"a": "the film"}])
    so_great = lm.tokenizer(" so great", add_special_tokens=False)["input_ids"]
    assert encoder.slots == 2 + len(so_great)
    assert encoder.slot_texts == dict(enumerate(so_great, start=2))
    assert [slot for _, slot in prompt.soft] == [0, 1, *range(2, encoder.slots), 0, 1]
    assert len(prompt.masks) == 1 and prompt.masks[0] not in dict(prompt.soft)


@pytest.mark.parametrize("name", ["bert", "roberta", "xlmr", "deberta-v2"])
@pytest.mark.parametrize("source", ['{soft:"Great film"}{a} {mask}', '{a}{soft:"film, so"}{mask}.', "{soft*7}{mask}"])
def test_a_soft_slot_has_as_many_places_as_vectors_wherever_it_stands(
    name: str, source: str, model_of: ModelOf
) -> None:
    encoder = PromptEncoder(model_of(name).tokenizer, Template.parse(source), 64)
    for row in ({"a": "the film"}, {"a": ""}, {"a": words(90)}):
        [prompt] = encoder.encode([row])
        assert [slot for _, slot in prompt.soft] == list(range(encoder.slots))
        assert len(prompt.masks) == 1


def test_a_shared_soft_slot_that_grows_is_refused(model_of: ModelOf) -> None:
    with pytest.raises(UserError, match="'p' has 2 trainable tokens where it first stands, and 3 later"):
        encode(model_of("bert"), "{soft@p*2} {a} {soft@p*3} {mask}", {"a": ""})


def test_soft_tokens_are_never_cut(model_of: ModelOf) -> None:
    [prompt] = encode(model_of("bert"), "{soft*5} {a} {mask}", {"a": words(50)}, length=12)
    assert len(prompt.ids) == 12
    assert [slot for _, slot in prompt.soft] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("left", [False, True])
def test_a_batch_pads_to_its_longest_prompt(left: bool) -> None:
    prompts = [Prompt([5, 6, 7], [0, 0, 1], (1,)), Prompt([8, 9, 10, 11, 12], [0] * 5, (4,), soft=((0, 3), (2, 1)))]
    batch = collate(prompts, pad_id=1, left=left)
    assert len(batch) == 2
    assert batch.input_ids.tolist() == [[1, 1, 5, 6, 7] if left else [5, 6, 7, 1, 1], [8, 9, 10, 11, 12]]
    assert batch.attention_mask.tolist() == [[0, 0, 1, 1, 1] if left else [1, 1, 1, 0, 0], [1] * 5]
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 0, 1] if left else [0, 0, 1, 0, 0], [0] * 5]
    assert batch.masks.tolist() == [[3 if left else 1], [4]]
    assert batch.soft is not None and batch.soft.tolist() == [[-1] * 5, [3, -1, 1, -1, -1]]


@given(lengths=st.lists(st.integers(1, 100)), size=st.integers(1, 7))
@quick
def test_batches_of_like_length_hold_every_prompt_once_longest_first(lengths: Sequence[int], size: int) -> None:
    batches = buckets(lengths, size)
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[i] for i in order] == sorted(lengths, reverse=True)
    assert all(len(batch) == size for batch in batches[:-1])
