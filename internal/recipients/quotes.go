package recipients

import "bytes"

// quotes finds the end of a row of CSV, which may lie behind line breaks in quotes. It goes on
// where it stopped when more of the row is there.
type quotes struct {
	delimiter byte // 0 when each line is a row
	wide      bool // the text is GB18030, in which a delimiter may be half a character

	state   quoteState
	at      int // up to where the row was scanned
	begin   int // of the part without quotes, or of the quotes, that at is in
	newline int // no line end is between at and here

	// swallowed says that a quote which is not closed as it should be has taken the lines up to at
	// for one field: nobody can tell where they belong.
	swallowed bool
}

type quoteState int

const (
	plain   quoteState = iota
	quoted             // between quotes
	closing            // behind a quote that closes, or is the first half of one that is meant
	broken             // behind a quote at a wrong place: the row ends with the line
)

// scan returns the size of the row that text begins with, with its line end, once that is in text.
// In later calls text has more at its end.
func (q *quotes) scan(text []byte) (size int, ended bool) {
	for q.at < len(text) {
		switch q.state {
		case quoted:
			i := bytes.IndexByte(text[q.at:], '"')
			if i < 0 {
				q.at = len(text)
				return 0, false
			}
			q.at += i + 1
			q.state = closing
		case closing:
			if size, ended = q.close(text); ended || q.state == closing {
				return size, ended
			}
		default:
			if size, ended = q.scanPlain(text); ended {
				return size, true
			}
		}
	}
	return 0, false
}

// scanPlain scans up to the next quote or the end of the line.
func (q *quotes) scanPlain(text []byte) (size int, ended bool) {
	if q.newline < q.at || q.newline < len(text) && text[q.newline] != '\n' {
		from := max(q.at, q.newline)
		q.newline = len(text)
		if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
			q.newline = from + i
		}
	}
	if q.delimiter != 0 && q.state == plain {
		if i := bytes.IndexByte(text[q.at:q.newline], '"'); i >= 0 {
			quote := q.at + i
			q.at = quote + 1
			q.state = broken
			if q.beginsField(text, quote) {
				q.state, q.begin = quoted, quote
			}
			return 0, false
		}
	}
	q.at = q.newline
	if q.newline == len(text) {
		return 0, false
	}
	return q.newline + 1, true
}

// close looks at what follows a quote between quotes.
func (q *quotes) close(text []byte) (size int, ended bool) {
	switch c := text[q.at]; {
	case c == '"':
		q.state = quoted
	case c == q.delimiter:
		q.state, q.begin = plain, q.at+1
	case c == '\n':
		return q.at + 1, true
	case c == '\r' && q.at+1 == len(text):
		return 0, false
	case c == '\r' && text[q.at+1] == '\n':
		return q.at + 2, true
	case bytes.IndexByte(text[q.begin:q.at], '\n') >= 0:
		q.swallowed = true
		return q.at, true
	default:
		q.state = broken
	}
	q.at++
	return 0, false
}

// beginsField reports whether a field begins at a place in the part without quotes.
func (q *quotes) beginsField(text []byte, at int) bool {
	if at == q.begin {
		return true
	}
	if text[at-1] != q.delimiter {
		return false
	}
	if !q.wide || q.delimiter < 0x40 {
		return true
	}
	i := q.begin
	for i < at-1 {
		i += gb18030Size(text[i:at])
	}
	return i == at-1
}

// gb18030Size is how many bytes the first character has, as far as its first two tell.
func gb18030Size(text []byte) int {
	switch {
	case len(text) < 2 || text[0] < 0x81 || text[0] == 0xff:
		return 1
	case '0' <= text[1] && text[1] <= '9':
		return 4
	case text[1] >= 0x40:
		return 2
	default:
		return 1
	}
}
