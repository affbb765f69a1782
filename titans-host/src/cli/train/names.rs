//! What a new run says of its tasks.

use crate::task::TaskName;

/// What a task learns.
pub fn task(task: TaskName) -> &'static str {
    match task {
        TaskName::Recall => {
            "16 key-value pairs hidden in noise, then every key again: what the memory is for, in its smallest form"
        }
        TaskName::Text => "Text from --data, byte by byte or by the tokens of --tokenizer",
        TaskName::Series => "Numbers from --data FILE.csv: the next patch of rows",
        TaskName::Forecast => "Numbers from --data FILE.csv: forecasts of the next --horizon rows from the rows before",
        TaskName::Track => "Words over the finite group --group: after every element the product of all so far",
        TaskName::Classify => "Sequences with labels from --data FILE.csv or FASTA: which class each is of",
        TaskName::Needle => {
            "A sentence in a --haystack of any length that gives a key its value; the question for it comes last (2 blocks of width \
             64, convolutions of 8, alpha-bias -14, 3000 steps of 4096 tokens, sequences of up to 2048)"
        }
        TaskName::Babilong => {
            "Stories of --facts hidden among the sentences of --noise; a question about the story comes last (a model alike, but \
             with convolutions over 4, the usual weight decay and gates at the rate of the rest; 4000 steps)"
        }
    }
}

/// An option that not every task reads, or several of one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskOption {
    Data,
    Carry,
    Tokenizer,
    Patch,
    Split,
    Pairs,
    Group,
    MicroSteps,
    Lengths,
    FirstLength,
    /// How a table is read.
    Table,
    Forecast,
    Classify,
    Needle,
    Babilong,
}

impl TaskName {
    /// What this task reads of the options that not every task reads.
    pub(super) fn takes(self) -> &'static [TaskOption] {
        use TaskOption::{
            Babilong, Carry, Classify, Data, FirstLength, Forecast, Group, Lengths, MicroSteps, Needle, Pairs, Patch,
            Split, Table, Tokenizer,
        };
        match self {
            Self::Recall => &[Pairs, Lengths],
            Self::Text => &[Data, Carry, Tokenizer, Split],
            Self::Series => &[Data, Patch, Table],
            Self::Forecast => &[Data, Patch, Split, Table, Forecast],
            Self::Track => &[Group, MicroSteps, Lengths],
            Self::Classify => &[Data, Tokenizer, Classify],
            Self::Needle => &[Tokenizer, Lengths, FirstLength, Needle],
            Self::Babilong => &[Tokenizer, Lengths, FirstLength, Babilong],
        }
    }
}
