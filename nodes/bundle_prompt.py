"""Bundle Prompt: a user's words as FLUX's two text encoders get them from the reference."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.diffusion.encode_prompt import reference_prompt
from ..pipelines.diffusion.expand_prompt import TEMPERATURE, expand_prompt, load_language_model
from . import model_files
from .memory import hold_network
from .model_files import LANGUAGE_MODELS, NONE
from .progress import NodeProgress
from .seeds import seed_input


class Bundle3D_BundlePrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_BundlePrompt",
            display_name="Bundle Prompt",
            category="Bundle3D/generation",
            description="Makes of a few words what bundle LoRAs were trained to read, if wanted with a language "
            "model's help.",
            search_aliases=["prompt", "trigger words", "prompt expansion", "llm", "clip text encode", "text to 3d"],
            inputs=[
                io.String.Input(
                    "text",
                    default="",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="What the object is: one thing, without a scene around it.",
                ),
                io.Combo.Input(
                    "language_model",
                    options=[NONE, *model_files.language_models()],
                    default=NONE,
                    tooltip="An instruction-tuned language model that describes the object from all sides: a "
                    "transformers "
                    "folder in models/LLM, such as Qwen2-7B-Instruct. none: the text stays as it is.",
                ),
                io.String.Input(
                    "description",
                    default="",
                    multiline=True,
                    tooltip="Taken instead of what the language model would write, where it is not empty: to change "
                    "its "
                    "words, run once, then edit them here.",
                ),
                seed_input("For the language model: every seed words the description in another way."),
                io.Float.Input(
                    "temperature",
                    default=TEMPERATURE,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How freely the language model words it; 0 always takes the likeliest words.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.String.Output(
                    "prompt",
                    display_name="prompt",
                    tooltip="What T5 reads: the trained sentence, then the description.",
                ),
                io.String.Output(
                    "clip_prompt", display_name="clip_prompt", tooltip="What CLIP reads: the sentence alone."
                ),
                io.String.Output(
                    "description", display_name="description", tooltip="The description alone, to look at."
                ),
            ],
        )

    @classmethod
    def execute(cls, text: str, language_model: str, description: str, seed: int, temperature: float) -> io.NodeOutput:
        words = description.strip() or text.strip()
        if language_model != NONE and not description.strip():
            model, tokenizer = load_language_model(model_files.find(LANGUAGE_MODELS, language_model))
            words = expand_prompt(hold_network(model), tokenizer, words, seed, NodeProgress(), temperature)
        for_clip, for_t5 = reference_prompt(words)
        shown: dict[str, Any] = {"text": [words]}
        return io.NodeOutput(for_t5, for_clip, words, ui=shown)


NODES = [Bundle3D_BundlePrompt]
