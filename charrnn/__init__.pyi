# The names of the public API, for editors and type checkers; `__init__.py` loads them when they are used.
from charrnn.api import NextChar as NextChar
from charrnn.api import TrainedModel as TrainedModel
from charrnn.api import load as load
from charrnn.api import train as train
from charrnn.api import train_events as train_events
from charrnn.config.load import load_config as load_config
from charrnn.config.schema import Config as Config
from charrnn.data.encode import encode_text as encode_text
from charrnn.data.vocabulary import Vocabulary as Vocabulary
from charrnn.errors import CharRNNError as CharRNNError
from charrnn.evaluation.loss import Score as Score
from charrnn.evaluation.loss import evaluate as evaluate
from charrnn.evaluation.loss import surprisals as surprisals
from charrnn.evaluation.ngram import NgramModel as NgramModel
from charrnn.nn.network import CharRNN as CharRNN
from charrnn.nn.stepper import Stepper as Stepper
from charrnn.runs.checkpoint import Checkpoint as Checkpoint
from charrnn.runs.checkpoint import find_checkpoint as find_checkpoint
from charrnn.runs.checkpoint import load_checkpoint as load_checkpoint
from charrnn.runs.checkpoint import save_checkpoint as save_checkpoint
from charrnn.sampling.generate import GeneratedChar as GeneratedChar
from charrnn.sampling.generate import Sample as Sample
from charrnn.sampling.generate import generate_ids as generate_ids
from charrnn.sampling.generate import generate_text as generate_text
from charrnn.sampling.options import SamplingOptions as SamplingOptions
from charrnn.training.trainer import Trainer as Trainer

SamplerOptions = SamplingOptions  # its name before

__version__: str
__all__: list[str]
