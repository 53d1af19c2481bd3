"""A few words made a full description by an instruction-tuned language model. Source: specs/kiss3dgen.md 2.3."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import Bundle3DError
from ..progress import Progress, silent
from .holder import Holder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LONGEST = 512  # new tokens
TEMPERATURE = 0.7
CACHE_BYTES = 1 << 30  # about what the attention cache and the logits of so short a text take

REQUIREMENTS = (
    "You write prompts for a model that draws one 3D object from four sides. From the user's idea write a single "
    "line of "
    "English that follows these rules. It is about exactly one object, standing alone: no scene, no ground, no "
    "background, no other things. It says what is seen from the front, what from the left side, what from the rear and "
    "what from the right side, each in words of its own, and the four agree with each other. It mentions that the "
    "picture "
    "is a 2x4 grid with the colour views in the upper row and their normal maps in the lower row. It is vivid about "
    "materials, colours and shapes, in a charming, slightly stylised look. It keeps everything that the user asked "
    "for. "
    "Answer with the line alone, without quotation marks, headings or remarks."
)
EXAMPLES = (
    (
        "a teapot",
        "A round-bellied porcelain teapot in cream glaze with painted blue cornflowers, shown in a 2x4 grid with "
        "colour "
        "views in the upper row and normal maps in the lower row; the front shows its plump body with a wreath of "
        "flowers "
        "and a golden knob on the lid, the left side shows the slender curved spout with a gilded lip, the rear shows "
        "plain cream glaze with one small blossom near the foot, the right side shows the looping handle with a thin "
        "gold "
        "line along its back.",
    ),
    (
        "fox in a raincoat",
        "A chubby little fox standing upright in a glossy yellow raincoat, shown in a 2x4 grid with colour views in "
        "the "
        "upper row and normal maps in the lower row; the front shows bright amber eyes, a white muzzle and three round "
        "buttons above red rubber boots, the left side shows one pointed ear through the hood and a sleeve ending in a "
        "small black paw, the rear shows the smooth back of the coat with a bushy orange tail with a white tip below "
        "it, "
        "the right side shows a square pocket with a folded flap and the other ear.",
    ),
    (
        "lighthouse",
        "A stout toy-like lighthouse with red and white bands on a ring of grey rounded stones, shown in a 2x4 grid "
        "with "
        "colour views in the upper row and normal maps in the lower row; the front shows an arched blue door under a "
        "tiny "
        "round window, the left side shows two small windows one above the other, the rear shows unbroken bands and "
        "a thin "
        "iron ladder up to the gallery, the right side shows a single window with a flower box, and the glass "
        "lantern with "
        "its domed red roof is seen from everywhere.",
    ),
    (
        "old race car",
        "A compact vintage race car in deep green enamel with cream wheels, shown in a 2x4 grid with colour views in "
        "the "
        "upper row and normal maps in the lower row; the front shows an oval chrome grille between two round lamps, "
        "the "
        "left side shows a long bonnet with louvres, a brown leather strap and a polished exhaust pipe, the rear "
        "shows a "
        "tapered tail with one filler cap, the right side shows the number seven in a white circle and the small "
        "curved "
        "windscreen above the open cockpit.",
    ),
)


def load_language_model(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model of a transformers folder, in the type its weights are stored in, and its tokenizer.

    Raises Bundle3DError for a folder that transformers cannot open, or that has no whole safetensors weights.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        opened: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", use_safetensors=True, output_loading_info=True, **local
        )
    except Exception as error:  # transformers and what it reads files with raise of every kind
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _not_opened(folder, lines[0]) from error
    model, loaded = opened
    # transformers fills these with random numbers and only warns.
    if loaded["missing_keys"]:
        raise _not_opened(folder, f"its weights lack {min(loaded['missing_keys'])}")
    return model, tokenizer


def _not_opened(folder: Path, reason: str) -> Bundle3DError:
    return Bundle3DError(
        f"Expected a transformers folder with a causal language model and safetensors weights in {folder.name}, but it "
        f"could not be opened ({reason}); download the whole folder again or choose another one."
    )


def expand_prompt(
    model: Holder,
    tokenizer: PreTrainedTokenizerBase,
    idea: str,
    seed: int,
    progress: Progress = silent,
    temperature: float = TEMPERATURE,
) -> str:
    """One line that describes ``idea`` from four sides; equal for equal seeds on one machine.

    Sampling follows the model's own generation settings but for the temperature; 0 takes the likeliest words. Raises
    Bundle3DError for a model without a chat template, and where nothing comes back.
    """
    from transformers import StoppingCriteriaList

    text = chat_text(tokenizer, idea)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids.to(model.compute_device)
    watched = _Watched(progress, ids.shape[1])
    sampling: dict[str, Any] = (
        {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
    )
    devices = [model.compute_device] if model.compute_device.type == "cuda" else []
    with model.use(CACHE_BYTES) as module, torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        output = module.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=LONGEST,
            stopping_criteria=StoppingCriteriaList([watched]),
            **sampling,
        )
    line = one_line(str(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)))
    if not line:
        raise Bundle3DError(
            f"Expected a description of {idea!r} from the language model, but it answered nothing; change the seed, or "
            "write the description yourself."
        )
    return line


def chat_text(tokenizer: PreTrainedTokenizerBase, idea: str) -> str:
    """The whole conversation as the model reads it: requirements, examples, and the idea to answer."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise Bundle3DError(
            "Expected an instruction-tuned language model, but this one has no chat template; choose one whose name "
            "ends "
            "in Instruct, Chat or it."
        )
    turns = [{"role": role, "content": text} for pair in EXAMPLES for role, text in zip(("user", "assistant"), pair)]
    turns.append({"role": "user", "content": idea})
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
    try:
        system = [{"role": "system", "content": REQUIREMENTS}]
        return str(tokenizer.apply_chat_template([*system, *turns], **options))
    except TemplateError:  # some models know no system turn
        turns[0] = {"role": "user", "content": f"{REQUIREMENTS}\n\n{turns[0]['content']}"}
        return str(tokenizer.apply_chat_template(turns, **options))


def one_line(answer: str) -> str:
    """The answer without line breaks, quotation marks around it, and what a reasoning model thought aloud."""
    answer = answer.rpartition("</think>")[2]
    return " ".join(answer.split()).strip("\"'`“” ")


class _Watched:
    """Reports every token, and lets the report cancel."""

    def __init__(self, progress: Progress, start: int) -> None:
        self.progress, self.start = progress, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **options: Any) -> torch.Tensor:
        self.progress(input_ids.shape[1] - self.start, LONGEST)
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
