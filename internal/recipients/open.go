package recipients

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Open reads the start of a file and finds out what it is written in. An error is about the file as
// a whole and says what to do; it names columns, and no value. The caller closes the reader.
func Open(in io.Reader, o Options) (*Reader, error) {
	r := &Reader{options: o, sum: sha256.New(), summary: Summary{MsgTypes: make(map[string]int)}}
	if o.Template != nil {
		r.summary.Template = o.Template.Digest()
	}
	text, compression, err := decompress(bufio.NewReaderSize(io.TeeReader(in, r.sum), lookAhead))
	if err != nil {
		return nil, err
	}
	r.shape.Compression = compression
	if r.text, r.shape.Encoding, err = decode(text, o.Encoding); err != nil {
		return nil, err
	}
	first, err := r.firstLine()
	if err != nil {
		return nil, err
	}
	l, err := findLayout(o, first)
	if err != nil {
		return nil, err
	}
	r.shape.Format = l.format
	j := judge{format: l.format, encoding: r.shape.Encoding, template: o.Template,
		limits: o.Limits}
	if l.format != NDJSON {
		if j.table, err = r.readHeader(l); err != nil {
			return nil, err
		}
		j.cutter = cutter{delimiter: l.delimiter, most: len(j.table.names)}
	}
	r.start(j)
	return r, nil
}

// firstLine returns the first line that is not empty as UTF-8, without passing over it. Excel's
// line that names the delimiter is not part of the table.
func (r *Reader) firstLine() (line []byte, err error) {
	for range 2 {
		if line, err = r.text.peekLine(); err != nil {
			return nil, err
		}
		if len(line) != len("sep=;") || !bytes.HasPrefix(line, []byte("sep=")) {
			break
		}
		if _, err = r.text.row(); err != nil {
			return nil, err
		}
	}
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, errors.New("the file is no text: " + saveAs)
	}
	if bytes.IndexByte(line, '\r') >= 0 {
		return nil, errors.New("the lines of the file end as on old Macs: " + saveAs)
	}
	line, _ = r.decodeHeader(line) // what is broken is found when the header is read as a whole
	return line, nil
}

// decodeHeader makes a text UTF-8, and reports whether it was valid.
func (r *Reader) decodeHeader(text []byte) ([]byte, bool) {
	if r.text.charset == gb18030 {
		return newGB18030Decoder().append(nil, text, true)
	}
	return text, utf8.Valid(text)
}

// readHeader takes the header off the text; a list has none.
func (r *Reader) readHeader(l layout) (*table, error) {
	if l.format == List {
		return newTable([][]byte{[]byte(columnOpenID)}, r.options.Template)
	}
	r.text.delimiter = l.delimiter
	row, err := r.text.next()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	text, ok := r.decodeHeader(row.raw)
	if !ok {
		return nil, fmt.Errorf("the header is not valid %s: %s", r.Shape().Encoding, saveAs)
	}
	cut := cutter{delimiter: l.delimiter, most: mostColumns}
	cells, n, rule := cut.cut(text)
	switch {
	case rule != "":
		return nil, fmt.Errorf("header: %s", rule)
	case n > mostColumns:
		return nil, fmt.Errorf("the header has %d columns, at most %d", n, mostColumns)
	}
	t, err := newTable(cells, r.options.Template)
	if err == nil {
		r.shape.Delimiter, r.shape.Columns = string(l.delimiter), t.names
	}
	return t, err
}

// startOfText is how many bytes show UTF-16 that has no mark.
const startOfText = 512

// decode returns the rows of a text, which are UTF-8 or GB18030, and the encoding as people know
// it.
func decode(in io.Reader, named string) (*splitter, string, error) {
	encoding, err := encodingNamed(named)
	if err != nil {
		return nil, "", err
	}
	text := bufio.NewReaderSize(in, lookAhead)
	start, _ := text.Peek(startOfText) // the next read returns its error again
	marked, length := markOf(start)
	switch {
	case marked != "" && !strings.HasPrefix(marked, encoding):
		return nil, "", fmt.Errorf("the file begins with the mark of %s: it is not %s", marked,
			encoding)
	case marked != "":
		_, _ = text.Discard(length) // cannot fail: they are buffered
		encoding = marked
	case encoding == "":
		encoding = utf16Of(start)
	case encoding == utf16Name:
		if encoding = utf16Of(start); encoding == "" {
			encoding = utf16LEName // as Windows writes it
		}
	}
	switch encoding {
	case "":
		return newSplitter(text, ascii), utf8Name, nil
	case gb18030Name:
		return newSplitter(text, gb18030), encoding, nil
	case utf8Name:
		return newSplitter(text, utf8Text), encoding, nil
	default:
		converted := &utf16Reader{in: text, big: encoding == utf16BEName}
		return newSplitter(converted, utf8Text), encoding, nil
	}
}
