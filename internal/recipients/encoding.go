package recipients

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/transform"
)

// The names of the encodings, as people know them.
const (
	utf8Name    = "UTF-8"
	utf16Name   = "UTF-16" // whatever its byte order
	utf16LEName = "UTF-16LE"
	utf16BEName = "UTF-16BE"
	gb18030Name = "GB18030" // GBK and GB 2312 are parts of it
)

// charset is how the bytes that rows are split from stand for characters. UTF-16 is made UTF-8
// before.
type charset int

const (
	ascii charset = iota // so far: the first other character decides
	utf8Text
	gb18030
)

// marks are the byte order marks.
var marks = []struct{ bytes, encoding string }{
	{"\xef\xbb\xbf", utf8Name},
	{"\xff\xfe", utf16LEName},
	{"\xfe\xff", utf16BEName},
	{"\x84\x31\x95\x33", gb18030Name},
}

// markOf returns the encoding that the start of a file names by a mark, and the mark's length.
func markOf(start []byte) (encoding string, length int) {
	for _, m := range marks {
		if bytes.HasPrefix(start, []byte(m.bytes)) {
			return m.encoding, len(m.bytes)
		}
	}
	return "", 0
}

// utf16Of tells UTF-16 without a mark by the zeros beside ASCII; "" for any other encoding.
func utf16Of(start []byte) string {
	var zeros [2]int // at even and at odd places
	for i, c := range start {
		if c == 0 {
			zeros[i%2]++
		}
	}
	const some = 8 // ASCII makes up more than one in eight characters of a header
	isEvery := func(zeros, others int) bool {
		return zeros*2*some > len(start) && others*some < zeros
	}
	switch {
	case isEvery(zeros[1], zeros[0]):
		return utf16LEName
	case isEvery(zeros[0], zeros[1]):
		return utf16BEName
	default:
		return ""
	}
}

// encodingNamed returns the encoding that a user means; utf16 without a byte order is "UTF-16".
func encodingNamed(name string) (string, error) {
	switch strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name)) {
	case "":
		return "", nil
	case "utf8":
		return utf8Name, nil
	case "utf16":
		return utf16Name, nil
	case "utf16le":
		return utf16LEName, nil
	case "utf16be":
		return utf16BEName, nil
	case "gb18030", "gbk", "gb2312", "cp936":
		return gb18030Name, nil
	default:
		return "", fmt.Errorf("encoding %q is none of utf-8, utf-16, utf-16le, utf-16be, gb18030",
			name)
	}
}

// guess tells the charset of text that is not ASCII. whole says that nothing follows.
//
// Most UTF-8 could be GB18030 as well, so it counts only for how many rows UTF-8 explains the text.
// One in some hundred short names in GB18030 could be UTF-8, so it takes more than one row to tell.
func guess(text []byte, whole bool) charset {
	if end := bytes.LastIndexByte(text, '\n'); end >= 0 && !whole {
		text, whole = text[:end], true
	}
	isUTF8, notUTF8, notGB := 0, 0, 0
	var scratch []byte
	decoder := newGB18030Decoder()
	for line := range bytes.Lines(text) {
		if indexNotASCII(line) < 0 {
			continue
		}
		atEnd := whole || len(line) < len(text)
		if validUTF8(line, atEnd) {
			isUTF8++
		} else {
			notUTF8++
		}
		var ok bool
		if scratch, ok = decoder.append(scratch[:0], line, atEnd); !ok {
			notGB++
		}
	}
	if notUTF8 > isUTF8 && notUTF8 > notGB {
		return gb18030
	}
	return utf8Text
}

// validUTF8 reports whether text is UTF-8; unless atEnd, half a character may stand at its end.
func validUTF8(text []byte, atEnd bool) bool {
	if atEnd || utf8.Valid(text) {
		return utf8.Valid(text)
	}
	for i := len(text) - 1; i >= 0 && i > len(text)-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			return !utf8.FullRune(text[i:]) && utf8.Valid(text[:i])
		}
	}
	return false
}

// gb18030Decoder is for one goroutine.
type gb18030Decoder struct{ transform.Transformer }

func newGB18030Decoder() *gb18030Decoder {
	return &gb18030Decoder{simplifiedchinese.GB18030.NewDecoder().Transformer}
}

// append appends GB18030 as UTF-8 to dst, and reports whether it was GB18030 and had no
// replacement character in it, which stands for something that was lost. Unless atEnd, half a
// character may stand at the end of src.
func (d *gb18030Decoder) append(dst, src []byte, atEnd bool) ([]byte, bool) {
	if at := indexNotASCII(src); at > 0 {
		dst, src = append(dst, src[:at]...), src[at:]
	}
	begin := len(dst)
	const longest = 3 // bytes for one of src
	if need := longest * len(src); cap(dst)-begin < need {
		dst = append(make([]byte, 0, begin+need), dst...)
	}
	n, _, err := d.Transform(dst[begin:begin+longest*len(src)], src, atEnd)
	dst = dst[:begin+n]
	cut := errors.Is(err, transform.ErrShortSrc) && !atEnd
	return dst, (err == nil || cut) && !bytes.Contains(dst[begin:], []byte("\ufffd"))
}

// utf16Reader makes UTF-8 of UTF-16. What is no character, half a pair or half a unit, comes out as
// bytes that are not valid UTF-8.
type utf16Reader struct {
	in   io.Reader
	big  bool
	raw  [32 << 10]byte
	held int    // bytes at the start of raw that wait for what follows
	out  []byte // not handed out yet
	full []byte // the memory of out
	err  error
}

func (r *utf16Reader) Read(p []byte) (int, error) {
	for len(r.out) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		var n int
		n, r.err = r.in.Read(r.raw[r.held:])
		r.convert(r.raw[:r.held+n])
		if n == 0 && r.err == nil {
			break
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

func (r *utf16Reader) convert(raw []byte) {
	out := r.full[:0]
	last := r.err != nil
	for len(raw) >= 2 {
		c, size := r.unit(raw), 2
		if utf16.IsSurrogate(c) {
			if len(raw) < 4 && !last {
				break
			}
			pair := utf8.RuneError
			if len(raw) >= 4 {
				pair = utf16.DecodeRune(c, r.unit(raw[2:]))
			}
			if pair == utf8.RuneError {
				out = append(out, 0xff)
				raw = raw[2:]
				continue
			}
			c, size = pair, 4
		}
		out = utf8.AppendRune(out, c)
		raw = raw[size:]
	}
	if last && len(raw) > 0 {
		out, raw = append(out, 0xff), nil
	}
	r.held = copy(r.raw[:], raw)
	r.out, r.full = out, out
}

func (r *utf16Reader) unit(b []byte) rune {
	if r.big {
		return rune(b[0])<<8 | rune(b[1])
	}
	return rune(b[1])<<8 | rune(b[0])
}
