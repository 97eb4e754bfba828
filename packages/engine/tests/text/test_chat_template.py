from __future__ import annotations

from typing import Any

import pytest

from sgl_jax.engine.errors import ChatTemplateError, ModelLoadError
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.tokenizer import Tokenizer

HI = [{"role": "user", "content": "Hi"}]


def rendered(source: str, messages: list[dict[str, Any]] | None = None, **options: Any) -> str:
    return ChatTemplate(source, bos_token="<s>").render(HI if messages is None else messages, **options)


@pytest.mark.model
def test_smollm2(smollm2: Tokenizer) -> None:
    system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    turn = "<|im_start|>user\nHi<|im_end|>\n"
    template = ChatTemplate.of(smollm2)
    prompt = template.render(HI)
    assert prompt == f"{system}{turn}<|im_start|>assistant\n"
    assert template.render(HI, add_generation_prompt=False) == system + turn
    ids = smollm2.encode(prompt, add_special_tokens=False)
    assert ids[:2] == [smollm2.token_to_id("<|im_start|>"), smollm2.encode("system")[0]]
    assert smollm2.decode(ids, skip_special_tokens=False) == prompt


def test_the_tokenizers_tokens_are_variables(tiny: Tokenizer) -> None:
    assert ChatTemplate.of(tiny).render(HI) == "<|bos|><|user|>user: Hi<|end|>\n<|user|>assistant: "
    assert ChatTemplate.of(tiny, "{{ eos_token }}{{ pad_token }}").render(HI) == "<|end|>"


class TestLikeTransformers:
    def test_blocks_are_trimmed(self) -> None:
        source = "{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}\nend"
        assert rendered(source) == "Hi\nend"

    def test_loop_controls(self) -> None:
        assert rendered("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}") == "012"

    def test_loop_variables(self) -> None:
        source = "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %}"
        assert rendered(source, HI * 3) == "1/3,2/3,3/3"

    def test_tojson_neither_escapes_html_nor_unicode(self) -> None:
        assert rendered("{{ {'a': '<é>&'} | tojson }}") == '{"a": "<é>&"}'
        assert rendered("{{ {'a': 1} | tojson(indent=2) }}") == '{\n  "a": 1\n}'

    def test_strftime_now(self) -> None:
        assert rendered("{{ strftime_now('%Y') }}").isdecimal()

    def test_conversations_with_tools_may_have_a_template_of_their_own(self) -> None:
        template = ChatTemplate("plain", tool_source="{{ tools | length }} tools")
        assert template.render(HI) == "plain"
        assert template.render(HI, tools=[{}, {}]) == "2 tools"
        assert ChatTemplate("plain").render(HI, tools=[{}]) == "plain"

    def test_the_generation_tag_is_transparent(self) -> None:
        assert rendered("a{% generation %}{{ messages[0].content }}{% endgeneration %}b") == "aHib"

    def test_tools_and_documents_are_none_when_absent(self) -> None:
        assert rendered("{{ tools is none }}{{ documents is none }}{{ more is defined }}") == "TrueTrueFalse"
        assert rendered("{{ tools[0].name }}", tools=[{"name": "f"}]) == "f"

    def test_further_variables(self) -> None:
        source = "{{ enable_thinking }}{{ bos_token }}"
        assert rendered(source, enable_thinking=False) == "False<s>"
        assert rendered(source, enable_thinking=True, bos_token="x") == "Truex"

    def test_namespaces_and_macros(self) -> None:
        source = (
            "{% macro show(m) %}[{{ m.role ~ ':' ~ m.content }}]{% endmacro %}{% set ns = namespace(n=0) %}"
            "{% for m in messages %}{% set ns.n = ns.n + 1 %}{{ show(m) }}{% endfor %}{{ ns.n }}"
        )
        assert rendered(source, HI * 2) == "[user:Hi][user:Hi]2"


class TestContinueFinalMessage:
    messages = [*HI, {"role": "assistant", "content": "Sure, "}]  # noqa: RUF012 (read only)

    def test_the_message_stays_open(self, tiny: Tokenizer) -> None:
        prompt = ChatTemplate.of(tiny).render(self.messages, continue_final_message=True)
        assert prompt == "<|bos|><|user|>user: Hi<|end|>\n<|user|>assistant: Sure, "

    def test_with_a_template_that_strips(self) -> None:
        source = "{% for m in messages %}<{{ m.content | trim }}>{% endfor %}"
        assert rendered(source, self.messages, continue_final_message=True) == "<Hi><Sure,"

    def test_with_parts(self) -> None:
        parts = [{"role": "assistant", "content": [{"type": "text", "text": "So"}]}]
        source = "{% for p in messages[0].content %}<{{ p.text }}>{% endfor %}"
        assert rendered(source, parts, continue_final_message=True) == "<So"
        assert parts[0]["content"] == [{"type": "text", "text": "So"}]

    @pytest.mark.parametrize("messages", [[], [{"role": "assistant"}], [{"role": "assistant", "content": []}]])
    def test_needs_text(self, messages: list[dict[str, Any]]) -> None:
        with pytest.raises(ChatTemplateError, match="ends in text"):
            rendered("{{ messages }}", messages, continue_final_message=True)

    def test_needs_the_message_in_the_prompt(self) -> None:
        with pytest.raises(ChatTemplateError, match="leaves the final message out"):
            rendered("nothing", continue_final_message=True)


class TestRefusals:
    def test_no_template(self) -> None:
        template = ChatTemplate(None)
        assert not template.present
        with pytest.raises(ChatTemplateError, match="--chat-template"):
            template.render(HI)

    def test_not_jinja(self) -> None:
        with pytest.raises(ModelLoadError, match=r"line 2.*--chat-template"):
            ChatTemplate("fine\n{% if %}")

    def test_the_template_says_no(self) -> None:
        with pytest.raises(ChatTemplateError, match="roles must alternate") as caught:
            rendered("{{ raise_exception('roles must alternate') }}")
        assert caught.value.param == "messages"

    def test_content_of_the_wrong_type(self) -> None:
        with pytest.raises(ChatTemplateError):
            rendered("{{ 'a' + messages[0].content }}", [{"role": "user", "content": None}])

    def test_messages_cannot_be_replaced(self) -> None:
        with pytest.raises(ChatTemplateError, match="messages"):
            ChatTemplate("{{ messages }}").render(HI, messages=[])


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99) %}{% for j in 'x'*99 %}{% for k in 'x'*999 %}x{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in 'x'*999 %}{% for b in 'x'*999 %}{% for c in 'x'*999 %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{{ 'x' * 10**10 }}",
        "{{ [0] * 10**10 }}",
        "{{ 10 ** 10000000 }}",
        "{{ 'x'.center(10**10) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set big = 'x' * 10**6 %}{% for i in range(999) %}{{ big }}{% endfor %}",
        "{% set big = 'x' * 10**6 %}{% set all %}{% for i in range(999) %}{{ big }}{% endfor %}{% endset %}",
        "{{ lipsum(n=10**6) }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% include 'other' %}",
        # Much out of little, in one operation.
        "{{ '%0999999999d' % 1 }}",
        "{{ '%*d' % (999999999, 1) }}",
        "{{ '%0999999999d' | format(1) }}",
        "{{ '{:>999999999}'.format('x') }}",
        "{{ '{:>{w}}'.format('x', w=999999999) }}",
        "{{ 'x' | center(99999999999) }}",
        "{{ 'x'.ljust(width=999999999) }}",
        "{{ '\t'.expandtabs(tabsize=999999999) }}",
        "{{ ('x' * 10**6).translate({120: 'y' * 1000}) }}",
        "{{ (1).to_bytes(length=999999999, byteorder='big') }}",
        "{{ ('x' * 10**7).replace('x', 'y' * 1000) }}",
        "{{ 'x' * 10**7 | replace('x', 'y' * 1000) }}",
        "{{ ('x' * 10**7).join('y' * 1000) }}",
        "{{ 'y' * 1000 | join('x' * 10**7) }}",
        "{{ ('a\n' * 10**6) | indent(100000) }}",
        "{{ [1] | batch(999999999, 'x') | list }}",
        "{{ [1] | slice(999999999) | list }}",
        "{{ {'a': {'b': 1}} | tojson(indent=999999999) }}",
        "{{ ([[1] * 10**6] * 100) | sum(start=[]) }}",
        # Little in itself, and for ever when looked through.
        *(
            "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
            "{% set ns.y = [ns.y, ns.y] %}{% endfor %}" + use
            for use in ("{{ ns.x | tojson }}", "{{ ns.x }}", "{{ ns.x == ns.y }}", "{{ ns.x in [ns.y] }}")
        ),
        "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x | tojson }}",
        "{% set ns = namespace(n=10**60) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n }}",
        "{{ ('x' * 16 * 10**6) | sort }}",
        "{{ ('a ' * 8 * 10**6) | wordwrap(1) }}",
        # Dear operations, again and again.
        *(
            "{% set b = 'x' * 10**7 %}{% set c = b[1:] ~ 'x' %}{% for i in range(400000) %}" + use + "{% endfor %}"
            for use in (
                "{% if b == c %}{% endif %}",
                "{% if 'y' in b %}{% endif %}",
                "{% if b is lower %}{% endif %}",
                "{% set x = b.count('y') %}",
                "{% set x = b | upper %}",
                "{% set x = b[::-1] %}",
                "{% set x %}{{ b }}{% endset %}",
            )
        ),
        # Many values of allowed size.
        "{% set ns = namespace(x=[]) %}{% for i in range(9**5) %}{% set ns.x = [ns.x, 'x' * 10**7] %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(9**5) %}{% set ns.x = [ns.x, [0] * 10**7] %}{% endfor %}",
    ],
)
def test_hostile_templates_are_cut_short(source: str) -> None:
    with pytest.raises(ChatTemplateError):
        rendered(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% if 1 %}" * 900 + "x" + "{% endif %}" * 900,
        "{% for a in [1] %}" * 60 + "x" + "{% endfor %}" * 60,
        "{{ " + " + ".join("1" * 20000) + " }}",
        "x{{ 1 }}" * 400_000,
    ],
    ids=["parentheses", "ifs", "loops", "a long sum", "a huge source"],
)
def test_templates_that_cannot_be_compiled(source: str) -> None:
    with pytest.raises(ModelLoadError, match="--chat-template"):
        ChatTemplate(source)


@pytest.mark.parametrize(
    "source", ["{{ raise_exception.__globals__ }}", "{{ '{0.__class__}'.format(1) }}", "{{ messages.__class__ }}"]
)
def test_inner_attributes_are_out_of_reach(source: str) -> None:
    assert rendered(source) == ""


def test_a_long_conversation_is_within_the_budget(tiny: Tokenizer) -> None:
    messages = [{"role": "user", "content": "word " * 200}] * 2000
    assert ChatTemplate.of(tiny).render(messages).count("word") == 400_000
