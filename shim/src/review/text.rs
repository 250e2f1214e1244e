//! Foreign words in, lines for people out: bounded, and without what a terminal would obey.

use std::fmt::Write as _;

/// What is left out.
const CUT: char = '…';
/// The least that is shown of one text among several, in bytes.
const MIN_SHARE: usize = 96;
/// What the line takes that counts the texts which are not shown, in bytes.
const MORE: usize = 48;

/// `text` in at most `limit` bytes, in one line: characters that control a terminal or the direction of
/// writing are escaped, and where it was cut there is `…` (CASES T107b).
pub(super) fn printable(text: &str, limit: usize) -> String {
    // Most texts are as they should be.
    if text.len() <= limit && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut printed = String::with_capacity(text.len().min(limit));
    // Where a cut leaves room for its mark.
    let mut cut = 0;
    for character in text.chars() {
        if is_hidden(character) {
            // Writing to a `String` does not fail.
            let _ = write!(printed, "{}", character.escape_unicode());
        } else {
            printed.push(character);
        }
        if printed.len() > limit {
            printed.truncate(cut);
            printed.push(CUT);
            break;
        }
        if printed.len() + CUT.len_utf8() <= limit {
            cut = printed.len();
        }
    }
    printed
}

const fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Puts `texts`, each of some lines, into one of at most `limit` bytes. Where they do not fit, each has a
/// share, of which short ones leave the rest to longer ones; what has no share is counted.
pub(super) fn fold(texts: &[String], limit: usize) -> String {
    let texts: Vec<String> = texts.iter().map(|text| lines(text, limit)).collect();
    let whole = texts.join("\n");
    if whole.len() <= limit {
        return whole;
    }
    let shown = texts.len().min(limit.saturating_sub(MORE) / MIN_SHARE).max(1);
    let mut room = limit.saturating_sub(MORE);
    let mut by_length: Vec<_> = texts.iter().take(shown).enumerate().collect();
    by_length.sort_by_key(|(_, text)| text.len());
    let mut cut: Vec<_> = Vec::with_capacity(shown);
    for (done, (at, text)) in by_length.into_iter().enumerate() {
        let share = room / (shown - done).max(1);
        let text = lines(text, share.saturating_sub(1));
        room = room.saturating_sub(text.len() + 1);
        cut.push((at, text));
    }
    cut.sort_by_key(|(at, _)| *at);
    let mut folded: Vec<_> = cut.into_iter().map(|(_, text)| text).collect();
    if shown < texts.len() {
        folded.push(format!("and {} more", texts.len() - shown));
    }
    folded.join("\n")
}

/// As many whole lines of `text` as fit, each printable; the first is cut if it alone does not.
fn lines(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        let line = printable(line, limit);
        if shown.is_empty() {
            shown = line;
        } else if shown.len() + 1 + line.len() <= limit {
            shown.push('\n');
            shown.push_str(&line);
        } else {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_what_is_long_is_cut() {
        assert_eq!(printable("a\x1b[31m\nb\u{202e}c", 100), "a\\u{1b}[31m\\u{a}b\\u{202e}c");
        assert_eq!(printable("abcdef", 6), "abcdef");
        assert_eq!(printable("abcdefg", 6), "abc…");
        assert_eq!(printable("ééééé", 7), "éé…");
    }

    #[test]
    fn texts_share_the_room_that_there_is() {
        let text = |name: &str, lines: usize| {
            (0..lines).map(|at| format!("{name} {at}")).collect::<Vec<_>>().join("\n")
        };
        let texts = [text("long", 1000), text("short", 1), text("other", 1000)];
        let folded = fold(&texts, 1024);
        assert!(folded.len() <= 1024, "{}", folded.len());
        for first in ["long 0", "short 0", "other 0"] {
            assert!(folded.lines().any(|line| line == first), "{folded}");
        }
        let many: Vec<_> = (0..100).map(|at| text(&format!("text {at}"), 50)).collect();
        let folded = fold(&many, 1024);
        assert!(folded.len() <= 1024 && folded.ends_with("\nand 90 more"), "{folded}");
        assert_eq!(fold(&["x".repeat(2000)], 1024).len(), 1024);
        assert_eq!(fold(&["a".to_owned(), "b\nc".to_owned()], 1024), "a\nb\nc");
    }
}
