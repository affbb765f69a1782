//! A text as sentences.

/// Lines in which the head of a Markdown book ends, at the latest.
const HEAD: usize = 20;

/// The sentences of a text, blanks within them made single: a sentence ends at a full stop, question or exclamation
/// mark (and the quotes and brackets behind it) before a blank, or with its line. The head of a Markdown file (`#
/// Title` up to a line of dashes), headings and lines of dashes are left out.
pub fn sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let body = match text.starts_with("# ") {
        true => behind_head(text),
        false => text,
    };
    for line in body.lines().filter(|line| !line.starts_with('#') && !is_rule(line)) {
        let mut sentence = String::new();
        for word in line.split_whitespace() {
            if !sentence.is_empty() {
                sentence.push(' ');
            }
            sentence.push_str(word);
            if ends(word) {
                found.push(std::mem::take(&mut sentence));
            }
        }
        if !sentence.is_empty() {
            found.push(sentence);
        }
    }
    found
}

/// What follows the line of dashes under a head; all where there is none.
fn behind_head(text: &str) -> &str {
    let mut at = 0;
    for line in text.split_inclusive('\n').take(HEAD) {
        at += line.len();
        if is_rule(line) {
            return &text[at..];
        }
    }
    text
}

fn is_rule(line: &str) -> bool {
    let line = line.trim();
    line.len() >= 3 && line.bytes().all(|b| b == b'-')
}

fn ends(word: &str) -> bool {
    word.trim_end_matches(['"', '\'', ')', ']', '”', '’', '_']).ends_with(['.', '!', '?'])
}

#[cfg(test)]
mod tests {
    use super::sentences;

    #[test]
    fn heads_and_headings_are_left_out_and_blanks_are_single() {
        let text = "# Title: A\n\n## Author: B\n\n-----\n\n## CHAPTER I\n\nOne  two. Three?\tFour (five.) \"Six!\" seven\neight.\n";
        assert_eq!(sentences(text), ["One two.", "Three?", "Four (five.)", "\"Six!\"", "seven", "eight."]);
        assert_eq!(sentences("A b.\n---\nc 1.5 d"), ["A b.", "c 1.5 d"]);
        assert!(sentences("# Only\n\n# headings\n\n \n").is_empty());
        // A head without its line of dashes is no head.
        assert_eq!(sentences("# Title\nText."), ["Text."]);
    }
}
