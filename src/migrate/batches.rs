//! The batches of a T-SQL script, which lines of `GO` end. The server has no such word: `sqlcmd` splits, and so do we.

/// Returns the batches of a script; one that holds white space only is left out.
pub(crate) fn batches(script: &str) -> Vec<&str> {
    let mut batches = Vec::new();
    let mut inside = Inside::Code;
    let (mut start, mut end) = (0, 0);
    for line in script.split_inclusive('\n') {
        if inside == Inside::Code && is_separator(line) {
            batches.push(&script[start..end]);
            start = end + line.len();
        } else {
            inside = inside.after(line);
        }
        end += line.len();
    }
    batches.push(&script[start.min(end)..end]);
    batches.retain(|batch| !batch.trim().is_empty());
    batches
}

fn is_separator(line: &str) -> bool {
    line.trim().eq_ignore_ascii_case("go")
}

/// What a line begins in: `GO` within a string, a quoted name or a comment is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    /// Until this character; two of them stand for one.
    Quotes(char),
    /// Comments nest, so many levels deep.
    Comment(u32),
}

impl Inside {
    /// Returns what the next line begins in.
    fn after(mut self, line: &str) -> Self {
        let mut rest = line.chars().peekable();
        while let Some(char) = rest.next() {
            self = match (self, char, rest.peek().copied().unwrap_or_default()) {
                (Self::Code, '-', '-') => return Self::Code,
                (Self::Code, '/', '*') => {
                    rest.next();
                    Self::Comment(1)
                }
                (Self::Comment(depth), '/', '*') => {
                    rest.next();
                    Self::Comment(depth + 1)
                }
                (Self::Comment(depth), '*', '/') => {
                    rest.next();
                    if depth > 1 { Self::Comment(depth - 1) } else { Self::Code }
                }
                (Self::Code, '\'' | '"', _) => Self::Quotes(char),
                (Self::Code, '[', _) => Self::Quotes(']'),
                // A doubled quote stands for itself.
                (Self::Quotes(end), _, next) if char == end && next == end => {
                    rest.next();
                    self
                }
                (Self::Quotes(end), _, _) if char == end => Self::Code,
                (Self::Code | Self::Quotes(_) | Self::Comment(_), _, _) => self,
            };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::none("SELECT 1;", &["SELECT 1;"])]
    #[case::between("SELECT 1;\nGO\nSELECT 2;\n", &["SELECT 1;\n", "SELECT 2;\n"])]
    #[case::any_case_and_space("SELECT 1;\r\n  go \r\nSELECT 2;", &["SELECT 1;\r\n", "SELECT 2;"])]
    #[case::at_the_end("SELECT 1;\nGO", &["SELECT 1;\n"])]
    #[case::empty_batches("GO\n\nGO\nSELECT 1;\nGO\nGO\n", &["SELECT 1;\n"])]
    #[case::in_a_word("GOTO x;\nGO1\n", &["GOTO x;\nGO1\n"])]
    #[case::in_a_string("SELECT 'a\nGO\n''b\nGO\n';\nGO\nSELECT 2;", &["SELECT 'a\nGO\n''b\nGO\n';\n", "SELECT 2;"])]
    #[case::in_a_name("SELECT [a\nGO\n]];\nGO\n];\nGO\n", &["SELECT [a\nGO\n]];\nGO\n];\n"])]
    #[case::in_a_comment("/* a /* b */\nGO\n*/ SELECT 1;\nGO\n", &["/* a /* b */\nGO\n*/ SELECT 1;\n"])]
    #[case::after_a_quote_in_a_comment("-- don't\nGO\nSELECT 1;", &["-- don't\n", "SELECT 1;"])]
    fn lines_of_go_end_a_batch(#[case] script: &str, #[case] expected: &[&str]) {
        assert_eq!(batches(script), expected);
    }
}
