from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.command_line import parse_launch
from sgl_jax.server.config import ServerConfig
from sgl_jax.server.flags import FLAGS, Flag
from sgl_jax.server.foreign_flags import NEUTRAL, REFUSED, Neutral

# The user guide's three launch commands, with its device replaced by this machine's.
GUIDE = """
    --model-path /home/user/models/qwen06b
    --trust-remote-code
    --dist-init-addr=0.0.0.0:10011
    --nnodes=1
    --tp-size=1
    --xla-backend=native
    --attention-backend=native
    --device=cpu
    --random-seed=3
    --node-rank=0
    --mem-fraction-static={memory}
    --max-prefill-tokens={prefill}
    {running}
    --download-dir=/tmp
    --dtype=bfloat16
    --skip-server-warmup
    --host 0.0.0.0
    --port 30000
"""

GUIDE_YAML = """
model_path: "/home/user/models/qwen06b"
tokenizer_path: "/home/user/models/qwen06b"
host: "0.0.0.0"
port: 30000
dtype: "bfloat16"
device: "cuda"
attention_backend: "native"
xla_backend: "native"
mem_fraction_static: 0.8
max_prefill_tokens: 8192
max_running_requests: 100
trust_remote_code: true
skip_server_warmup: true
"""


@pytest.mark.parametrize(
    ("memory", "prefill", "running"), [(0.8, 8192, None), (0.6, 4096, 50), (0.9, 16384, 200)], ids=str
)
def test_the_guides_commands(memory: float, prefill: int, running: int | None) -> None:
    flag = "" if running is None else f"--max-running-requests={running}"
    config = parse_launch(shlex.split(GUIDE.format(memory=memory, prefill=prefill, running=flag)))
    assert config.server == ServerConfig(served_model_name="qwen06b", host="0.0.0.0", port=30000)
    assert config.engine == EngineConfig(
        model_path="/home/user/models/qwen06b",
        download_dir="/tmp",
        xla_backend="native",
        attention_backend="native",
        device="cpu",
        dist_init_addr="0.0.0.0:10011",
        random_seed=3,
        mem_fraction_static=memory,
        max_prefill_tokens=prefill,
        max_running_requests=running,
        dtype="bfloat16",
        skip_warmup=True,
    )
    assert any("never runs code" in notice for notice in config.notices)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("org/name-GGUF:name-Q4_0.gguf", "name-Q4_0"),
        ("/models/name.gguf", "name"),
    ],
)
def test_a_model_from_the_hub_is_served_under_its_id(path: str, name: str) -> None:
    config = parse_launch([f"--model-path={path}", "--revision=v1", "--load-format=dummy"])
    assert config.server.served_model_name == name
    assert (config.engine.model_path, config.engine.revision, config.engine.load_format) == (path, "v1", "dummy")


def test_the_guides_yaml(tmp_path: Path) -> None:
    file = tmp_path / "server_config.yaml"
    file.write_text(GUIDE_YAML)
    config = parse_launch([f"--config={file}"])
    assert config.server.host == "0.0.0.0"
    assert config.engine.tokenizer_path == "/home/user/models/qwen06b"
    assert config.engine.max_running_requests == 100
    assert config.engine.skip_warmup
    assert len(config.notices) == 1


VALUES: dict[str, st.SearchStrategy[str | int | float | bool]] = {
    "max-seq-len": st.integers(1, 10**6),
    "port": st.integers(0, 65535),
    "random-seed": st.integers(-(2**31), 2**31),
    "mem-fraction-static": st.floats(0.01, 0.99),
    "served-model-name": st.text("abcxyz-. é", min_size=1).filter(lambda text: not text.startswith("-")),
    "skip-warmup": st.booleans(),
    "strict-fields": st.booleans(),
    "dtype": st.sampled_from(["auto", "float32", "bfloat16"]),
}
CHOSEN = st.fixed_dictionaries({}, optional=VALUES)


def spell(name: str, value: object, joined: bool) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}={value}"] if joined else [f"--{name}", str(value)]


@settings(max_examples=40, deadline=None)
@given(from_flags=CHOSEN, from_file=CHOSEN, joined=st.booleans(), dashes=st.booleans())
def test_flags_override_the_file_which_overrides_defaults(
    tmp_path_factory: pytest.TempPathFactory,
    from_flags: dict[str, object],
    from_file: dict[str, object],
    joined: bool,
    dashes: bool,
) -> None:
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    keys = {name if dashes else name.replace("-", "_"): value for name, value in from_file.items()}
    file.write_text(yaml.safe_dump(keys))
    words = [word for name, value in from_flags.items() for word in spell(name, value, joined)]
    config = parse_launch(["--model-path=/m/tiny", "--config", str(file), *words])
    found = {**msgspec.structs.asdict(config.engine), **msgspec.structs.asdict(config.server)}
    expected = {**from_file, **from_flags}
    for flag in FLAGS:
        default = {"model-path": "/m/tiny", "served-model-name": "tiny"}.get(flag.name, flag.default)
        assert found[flag.field] == expected.get(flag.name, default), flag.name


def test_there_is_one_flag_for_each_field() -> None:
    fields = [("engine", name) for name in EngineConfig.__struct_fields__]
    fields += [("server", name) for name in ServerConfig.__struct_fields__]
    assert sorted((flag.target, flag.field) for flag in FLAGS) == sorted(fields)


def test_no_spelling_means_two_things() -> None:
    entries: tuple[Flag | Neutral, ...] = (*FLAGS, *NEUTRAL)
    spellings = [name for entry in entries for name in (entry.name, *entry.aliases)] + [*REFUSED, "config", "help"]
    spellings += [name for flag in FLAGS for name, _ in flag.shorthands]
    assert len(set(spellings)) == len(spellings)


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_shorthands_choose_a_value(flag: Flag) -> None:
    for name, value in flag.shorthands:
        config = parse_launch(["--model-path=m", f"--{name}"])
        assert getattr(getattr(config, flag.target), flag.field) == value


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_defaults_of_the_table_have_the_flags_type(flag: Flag) -> None:
    assert flag.default is None or isinstance(flag.default, flag.kind)


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--kv-cache-dtype=bf16"], "kv_cache_dtype", "bfloat16"),
        (["--dtype", "float"], "dtype", "float32"),
        (["--disable-jax-precompile"], "skip_warmup", True),
    ],
)
def test_sglangs_spellings_of_values(words: list[str], field: str, value: object) -> None:
    assert getattr(parse_launch(words).engine, field) == value


@pytest.mark.parametrize("word", ["--stream-output", "--incremental-stream-output", "--incremental-streaming-output"])
def test_deltas_may_be_the_default_of_generate(word: str) -> None:
    assert parse_launch([word]).server.incremental_stream_output
    assert not parse_launch([]).server.incremental_stream_output


def test_what_is_so_anyway_is_taken_and_noted() -> None:
    launch = parse_launch(["--enable-cache-report", "--sleep-on-idle", "--dp-size=1", "--model-impl=auto"])
    assert launch.server.stream_interval == 1
    assert [notice.partition(" ")[0] for notice in launch.notices] == ["--enable-cache-report", "--sleep-on-idle"]
    with pytest.raises(ConfigError, match="one server per device"):
        parse_launch(["--dp-size=8"])


def test_streams_may_bring_several_tokens_at_a_time() -> None:
    assert parse_launch(["--stream-interval=8"]).server.stream_interval == 8
    with pytest.raises(ConfigError, match="--stream-interval must be at least 1"):
        parse_launch(["--stream-interval=0"])


@pytest.mark.parametrize("name", REFUSED)
def test_refused_flags_say_why(name: str) -> None:
    for words in ([f"--{name}"], [f"--{name}", "value"], [f"--{name}=value"]):
        with pytest.raises(ConfigError) as caught:
            parse_launch(["--model-path=m", *words])
        assert f"--{name}" in str(caught.value)
        assert REFUSED[name] in str(caught.value)


@pytest.mark.parametrize("name", ["ep-size", "dp-size"])
def test_parallelism_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="not there yet"):
        parse_launch(["--model-path=m", f"--{name}=2"])


def test_several_nodes() -> None:
    flags = ["--tp-size=4", "--nnodes=2", "--node-rank=1", "--nccl-init-addr=10.0.0.1:10011"]
    engine = parse_launch(["--model-path=m", *flags]).engine
    assert (engine.tp_size, engine.nnodes, engine.node_rank) == (4, 2, 1)
    assert engine.node_0 == ("10.0.0.1", 10011)
    assert parse_launch(["--model-path=m", "--dist-init-addr=[fd00::1]:10011"]).engine.node_0 == ("fd00::1", 10011)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--nnodes=0", "--nnodes must be at least 1"),
        ("--node-rank=1", "--node-rank lie in"),
        ("--nnodes=2 --node-rank=2", "--node-rank lie in"),
        ("--nnodes=2 --node-rank=-1", "--node-rank lie in"),
        ("--nnodes=2 --dist-init-addr=a:1", "--tp-size=1 must be a multiple"),
        ("--nnodes=2 --tp-size=3 --dist-init-addr=a:1", "--tp-size=3 must be a multiple"),
        ("--nnodes=2 --tp-size=2", "needs --dist-init-addr"),
        ("--nnodes=2 --tp-size=2 --dist-init-addr=a", "needs --dist-init-addr"),
        ("--nnodes=2 --tp-size=2 --dist-init-addr=:1", "needs --dist-init-addr"),
        ("--nnodes=2 --tp-size=2 --dist-init-addr=a:0", "needs --dist-init-addr"),
        ("--nnodes=2 --tp-size=2 --dist-init-addr=a:99999", "needs --dist-init-addr"),
        ("--nnodes=2 --tp-size=2 --dist-init-addr=tcp://a:1", "needs --dist-init-addr"),
        ("--nnodes=2 --tp-size=2 --dist-init-addr=a:1 --device=cuda:0,1", "one node's devices"),
        ("--nnodes=2 --tp-size=2 --dist-init-addr=a:1 --device=fake", "--device=fake"),
    ],
)
def test_nodes_that_cannot_be(flags: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_launch(["--model-path=m", *flags.split()])
    assert says in str(caught.value)


def test_an_empty_host_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--host .* 0\.0\.0\.0"):
        parse_launch(["--model-path=m", "--host="])


@pytest.mark.parametrize("name", ["tp-size", "tp", "tensor-parallel-size"])
def test_several_devices(name: str) -> None:
    engine = parse_launch(["--model-path=m", f"--{name}=2", "--device=cuda:0,1"]).engine
    assert (engine.tp_size, engine.device) == (2, "cuda:0,1")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:3", "fake"])
def test_devices(device: str) -> None:
    assert parse_launch(["--model-path=m", f"--device={device}"]).engine.device == device


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("cuda:0,1", "--tp-size must be 2 too"),
        ("tpu", "must be auto"),
        ("cuda:", "must be auto"),
        ("cuda:1,", "must be"),
    ],
)
def test_other_devices_are_refused(device: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_launch(["--model-path=m", f"--device={device}"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--max-runing-requests=3"], "Unknown flag --max-runing-requests. Did you mean --max-running-requests?"),
        (["--max_seq_len", "3"], "Did you mean --max-seq-len?"),
        (["--zzzzqqqq"], "Unknown flag --zzzzqqqq. See --help"),
        (["some/model"], "--model-path=some/model"),
        (["--port=http"], "--port: invalid int value: 'http'"),
        (["--port=70000"], "--port must lie between"),
        (["--page-size=3"], "--page-size must be a power of two"),
        (["--dtype=int3"], "--dtype must be one of"),
        (["--api-key="], "--api-key must be ASCII text"),
        (["--admin-api-key= x"], "--admin-api-key must be ASCII text"),
        (["--ssl-keyfile=key.pem"], "--ssl-keyfile needs --ssl-certfile"),
        (["--max-stall-seconds=0"], "--max-stall-seconds must be above 0"),
        (["--max-request-seconds=nan"], "--max-request-seconds must be above 0"),
        (["--drain-seconds=nan"], "--drain-seconds must be a number of at least 0"),
        (["--drain-seconds=inf"], "--drain-seconds must be a number of at least 0"),
        (["--log-format=xml"], "--log-format must be one of text, json"),
        (["--max-restarts=0"], "use --no-restart for none"),
        (["--no-restrat"], "Did you mean --no-restart?"),
        (["--log-level=loud"], "--log-level must be one of"),
        (["--config=/nowhere.yaml"], "Cannot read the config file /nowhere.yaml"),
    ],
)
def test_mistakes_are_explained(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_launch(words)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modle_path: m", "unknown key 'modle_path'. Did you mean 'model_path'?"),
        ("port: '30000'", "'port' must be a whole number, got '30000'"),
        ("port: true", "'port' must be a whole number, got True"),
        ("served_model_name: 7", "Put it in quotes: served_model_name: '7'"),
        ("skip_warmup: 1", "'skip_warmup' must be true or false"),
        ("max_seq_len: 5\ncontext_length: 6", "repeats 'max_seq_len'"),
        ("quantization: awq", "--quantization must be one of auto, none, gguf, int8, int4, fp8"),
        ("- port", "must hold 'key: value' lines"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_mistakes_in_the_file_are_explained(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        parse_launch(["--config", str(file)])
    assert says in str(caught.value)


def test_keys_come_from_the_environment_unless_they_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model_path: m\nadmin_api_key: of the file\n")
    monkeypatch.setenv("SGL_JAX_API_KEY", "of-the-environment")
    monkeypatch.setenv("SGL_JAX_ADMIN_API_KEY", "of-the-environment")
    server = parse_launch(["--config", str(file)]).server
    assert (server.api_key, server.admin_api_key) == ("of-the-environment", "of the file")
    assert parse_launch(["--model-path=m", "--api-key=given"]).server.api_key == "given"
    monkeypatch.setenv("SGL_JAX_API_KEY", "")
    assert parse_launch(["--model-path=m"]).server.api_key is None


def test_empty_keys_and_switched_off_flags_ask_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model_path: m\nquantization:\nenable_lora: false\ntrust_remote_code: false\nmax_seq_len: null\n")
    config = parse_launch(["--config", str(file)])
    assert config.notices == ()
    assert config.engine == EngineConfig(model_path="m")


@pytest.mark.parametrize(
    ("path", "name"),
    [("/models/qwen06b", "qwen06b"), ("/models/qwen06b/", "qwen06b"), ("/m/Tiny.Q4_1.gguf", "Tiny.Q4_1")],
)
def test_the_served_name_is_the_folders_or_files(path: str, name: str) -> None:
    assert parse_launch(["--model-path", path]).server.served_model_name == name
    assert parse_launch(["--model-path", path, "--served-model-name=x"]).server.served_model_name == "x"


def test_a_link_and_the_current_folder_have_their_own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snapshot-123").mkdir()
    (tmp_path / "qwen06b").symlink_to("snapshot-123")
    assert parse_launch([f"--model-path={tmp_path}/qwen06b"]).server.served_model_name == "qwen06b"
    monkeypatch.chdir(tmp_path / "snapshot-123")
    assert parse_launch(["--model-path=."]).server.served_model_name == "snapshot-123"


def test_without_a_path_the_default_model_is_served() -> None:
    config = parse_launch([])
    assert config.server.served_model_name == "SmolLM2-135M-Instruct"
    assert Path(config.engine.model_path).is_file()


def test_help_lists_every_flag_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from sgl_jax.server.cli import main\n"
        "try:\n"
        "    main(['serve', '--help'])\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "print(sorted({'jax', 'flax', 'fastapi', 'zmq', 'numpy', 'tokenizers', 'uvicorn'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    text, heavy = done.stdout.rstrip().rsplit("\n", 1)
    assert heavy == "[]"
    assert "--no-skip" not in text
    for flag in FLAGS:
        for spelling in (flag.name, *flag.aliases):
            assert f"--{spelling}" in text
        for shorthand, _ in flag.shorthands:
            assert f"--{shorthand} " in text
        assert f"\n{flag.group}:\n" in text
