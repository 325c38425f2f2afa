//! A source file, tokenised as far as the rules need: not a parser, but comments and strings do not confuse it.

use std::ops::Range;

use crate::CLIENT;

/// A string literal without its quotes; escapes are unchanged.
pub struct Literal {
    pub offset: usize,
    pub text: String,
}

/// A Rust source file.
pub struct Source {
    /// The path from the top of the repository, with forward slashes.
    pub path: String,
    /// The text in ASCII with comments and literals blanked; offsets and lines are the file's own.
    pub code: String,
    /// Every string literal outside of comments.
    pub literals: Vec<Literal>,
    tests: Vec<Range<usize>>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let (code, literals) = mask(text.as_bytes());
        let mut source = Self {
            path: path.to_owned(),
            code,
            literals,
            tests: Vec::new(),
        };
        source.tests = source.test_items();
        source
    }

    pub fn lines(&self) -> usize {
        self.code.lines().count()
    }

    /// The line of an offset, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count() + 1
    }

    /// Whether the offset lies in code that is compiled for tests only.
    pub fn is_test(&self, offset: usize) -> bool {
        self.is_test_file() || self.tests.iter().any(|item| item.contains(&offset))
    }

    /// A file of tests by its name. The rule on test files ensures that the name is correct.
    pub fn is_test_file(&self) -> bool {
        self.path.ends_with("_tests.rs") || self.path.ends_with("/tests.rs")
    }

    /// The path below `src/` of the file's crate.
    pub fn inside(&self) -> Option<&str> {
        let below = self.path.strip_prefix(CLIENT).map_or(&*self.path, |path| &path[1..]);
        below.strip_prefix("src/")
    }

    /// Whether the file belongs to the client's crate.
    pub fn is_client(&self) -> bool {
        self.path.starts_with(CLIENT)
    }

    /// The room a file belongs to; `None` for the crate's roots.
    pub fn room(&self) -> Option<&str> {
        let inside = self.inside()?;
        let room = inside.split('/').next()?.trim_end_matches(".rs");
        (!matches!(inside, "lib.rs" | "main.rs")).then_some(room)
    }

    /// How many `super` lead from the offset to the crate's root.
    pub fn depth(&self, offset: usize) -> usize {
        let inline = self
            .words("mod")
            .filter(|&at| at < offset && offset < self.item_end(at));
        1 + self.inside().unwrap_or_default().matches('/').count() + inline.count()
    }

    /// The offsets of a word in the code: "f64" is not in "as_f64". Punctuation may be part of the word
    /// ("println!").
    pub fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let is_alone = move |&at: &usize| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            !(before.is_some_and(is_word) || word.ends_with(is_word) && after.is_some_and(is_word))
        };
        self.code.match_indices(word).map(|(at, _)| at).filter(is_alone)
    }

    /// The identifier at an offset, after white space; empty if there is none.
    pub fn word_at(&self, offset: usize) -> &str {
        let rest = self.code[offset..].trim_start();
        let rest = rest.strip_prefix("r#").unwrap_or(rest);
        &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())]
    }

    /// The offset behind the `::` that follows an offset, if one does.
    pub fn after_colons(&self, offset: usize) -> Option<usize> {
        let rest = self.code[offset..].trim_start();
        rest.starts_with("::").then(|| self.code.len() - rest.len() + 2)
    }

    /// The offsets at which the paths of an import begin: that of a path, or those of all paths of a group.
    pub fn path_heads(&self, offset: usize) -> Vec<usize> {
        let rest = self.code[offset..].trim_start();
        let begin = self.code.len() - rest.len();
        let Some(group) = rest.strip_prefix('{') else {
            return vec![begin];
        };
        let (mut depth, mut item, mut heads) = (0_usize, begin + 1, Vec::new());
        for (length, byte) in group.bytes().enumerate() {
            let here = begin + 1 + length;
            match byte {
                b'{' => depth += 1,
                b'}' if depth > 0 => depth -= 1,
                b',' | b'}' if depth == 0 => {
                    if !self.code[item..here].trim().is_empty() {
                        heads.extend(self.path_heads(item));
                    }
                    item = here + 1;
                    if byte == b'}' {
                        break;
                    }
                }
                _ => {}
            }
        }
        heads
    }

    /// The end of the item that begins at an offset: after its body or its semicolon.
    pub fn item_end(&self, offset: usize) -> usize {
        let mut depth = 0_usize;
        for (at, byte) in self.code.bytes().enumerate().skip(offset) {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                b'}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return at + 1;
                    }
                }
                b';' if depth == 0 => return at + 1,
                _ => {}
            }
        }
        self.code.len()
    }

    fn test_items(&self) -> Vec<Range<usize>> {
        const OUTER: &str = "#[cfg(test)]";
        let items = self
            .code
            .match_indices(OUTER)
            .map(|(at, _)| at..self.item_end(at + OUTER.len()));
        let whole = self.code.contains("#![cfg(test)]").then_some(0..self.code.len());
        items.chain(whole).collect()
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Blanks comments and literals and collects the strings.
fn mask(text: &[u8]) -> (String, Vec<Literal>) {
    let mut code = String::with_capacity(text.len());
    let mut literals = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let follows_word = code.ends_with(is_word);
        let end = if let Some(end) = comment_end(text, at) {
            end
        } else if let Some((inside, end)) = string_at(text, at).filter(|_| !follows_word || text[at] == b'"') {
            literals.push(Literal {
                offset: at,
                text: String::from_utf8_lossy(&text[inside]).into_owned(),
            });
            end
        } else if let Some(end) = character_end(text, at) {
            end
        } else {
            code.push(if text[at].is_ascii() { text[at].into() } else { '_' });
            at += 1;
            continue;
        };
        code.extend(text[at..end].iter().map(|&byte| if byte == b'\n' { '\n' } else { ' ' }));
        at = end;
    }
    (code, literals)
}

fn comment_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    if rest.starts_with(b"//") {
        return Some(
            rest.iter()
                .position(|&byte| byte == b'\n')
                .map_or(text.len(), |length| at + length),
        );
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut next) = (0_usize, at);
    while next < text.len() {
        if text[next..].starts_with(b"/*") {
            (depth, next) = (depth + 1, next + 2);
        } else if text[next..].starts_with(b"*/") {
            (depth, next) = (depth - 1, next + 2);
            if depth == 0 {
                return Some(next);
            }
        } else {
            next += 1;
        }
    }
    Some(text.len())
}

/// The inside of a string literal that begins here, and its end: plain, byte or C, raw or not.
fn string_at(text: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let mut open = at;
    if matches!(text[open], b'b' | b'c') {
        open += 1;
    }
    let raw = text.get(open) == Some(&b'r');
    if raw {
        open += 1;
    }
    let hashes = text[open..].iter().take_while(|&&byte| byte == b'#').count();
    if (!raw && hashes > 0) || text.get(open + hashes) != Some(&b'"') {
        return None;
    }
    let begin = open + hashes + 1;
    let mut end = begin;
    while end < text.len() {
        match text[end] {
            b'\\' if !raw => end += 1,
            b'"' if text[end + 1..]
                .iter()
                .take(hashes)
                .filter(|&&byte| byte == b'#')
                .count()
                == hashes =>
            {
                return Some((begin..end, end + 1 + hashes));
            }
            _ => {}
        }
        end += 1;
    }
    Some((begin..text.len(), text.len()))
}

/// The end of a character literal that begins here; a lifetime is none.
fn character_end(text: &[u8], at: usize) -> Option<usize> {
    if text[at] != b'\'' {
        return None;
    }
    if text.get(at + 1) == Some(&b'\\') {
        let rest = text.get(at + 3..)?;
        return rest
            .iter()
            .position(|&byte| byte == b'\'')
            .map(|length| at + 3 + length + 1);
    }
    let length = first_length(*text.get(at + 1)?);
    (text.get(at + 1 + length) == Some(&b'\'')).then_some(at + length + 2)
}

/// The length of a UTF-8 character by its first byte.
fn first_length(byte: u8) -> usize {
    match byte {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}
