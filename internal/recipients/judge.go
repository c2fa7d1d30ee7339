package recipients

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/kefuhq/kefu/schema"
)

const (
	// Rows and bytes after which a batch is full: enough that handing it over costs little.
	batchRows  = 128
	batchBytes = 64 << 10
)

// batch is rows that are judged together.
type batch struct {
	rows    []verdict
	text    []byte // of the rows, as it is in the file
	gb18030 bool   // the text is GB18030
	decoded []byte // of those rows that are not ASCII, when the text is GB18030
	packets []byte
	isUTF8  int // how many of the decoded rows could have been UTF-8
	notUTF8 int
	judged  chan struct{} // gets a value when the rows are judged
}

// verdict is a row and what was found out about it.
type verdict struct {
	line     int
	from, to int // of its text
	raw      []byte
	packet   []byte
	openID   string
	msgType  string
	key      recipientKey
	problem  *schema.FieldError
}

// recipientKey stands for a recipient: half a hash, enough that no two of any file are ever taken
// for one. It is never zero.
type recipientKey [16]byte

func keyOf(openID string) recipientKey {
	sum := sha256.Sum256([]byte(openID))
	key := recipientKey(sum[:])
	key[len(key)-1] |= 1
	return key
}

func newBatch() *batch { return &batch{judged: make(chan struct{}, 1)} }

// reset empties the batch and keeps its memory, unless a long row has made it large.
func (b *batch) reset() {
	const keep = 8 * batchBytes
	b.rows, b.isUTF8, b.notUTF8 = b.rows[:0], 0, 0
	for _, memory := range []*[]byte{&b.text, &b.decoded, &b.packets} {
		if *memory = (*memory)[:0]; cap(*memory) > keep {
			*memory = nil
		}
	}
}

func (b *batch) add(row span) {
	from := len(b.text)
	b.text = append(b.text, row.raw...)
	b.rows = append(b.rows, verdict{line: row.line, from: from, to: len(b.text)})
}

func (b *batch) isFull() bool { return len(b.rows) >= batchRows || len(b.text) >= batchBytes }

// judge makes packets of rows and checks them. It is for one goroutine.
type judge struct {
	format   Format
	encoding string // as people know it, but for GB18030
	template *Template
	limits   schema.Limits
	table    *table
	cutter   cutter
	values   [][]byte
	object   *object
	gb18030  *gb18030Decoder
}

// judge judges the rows of a batch.
func (j *judge) judge(b *batch) {
	for i := range b.rows {
		v := &b.rows[i]
		v.raw = b.text[v.from:v.to]
		if v.problem = j.decode(b, v); v.problem != nil {
			continue
		}
		begin := len(b.packets)
		v.packet, v.problem = j.render(b.packets, v.raw)
		if v.problem != nil {
			continue
		}
		if j.template != nil {
			b.packets = v.packet
			v.packet = v.packet[begin:len(v.packet):len(v.packet)]
		}
		j.check(v)
	}
}

// decode makes the row's text UTF-8.
func (j *judge) decode(b *batch, v *verdict) *schema.FieldError {
	encoding, ok := j.encoding, true
	if !b.gb18030 {
		ok = utf8.Valid(v.raw)
	} else if encoding = gb18030Name; indexNotASCII(v.raw) >= 0 {
		if utf8.Valid(v.raw) {
			b.isUTF8++
		} else {
			b.notUTF8++
		}
		begin := len(b.decoded)
		b.decoded, ok = j.gb18030.append(b.decoded, v.raw, true)
		v.raw = b.decoded[begin:len(b.decoded):len(b.decoded)]
	}
	if ok {
		return nil
	}
	return &schema.FieldError{Field: j.brokenField(v.raw), Rule: notValid + encoding}
}

// notValid is what the rule of a row begins with that holds what is no character.
const notValid = "not valid "

// brokenField names the column of a row that holds what is no character.
func (j *judge) brokenField(row []byte) string {
	if j.table != nil && j.format != List {
		cells, n, _ := j.cutter.cut(row)
		for i, cell := range cells {
			isBroken := !utf8.Valid(cell) || bytes.Contains(cell, []byte("\ufffd"))
			if isBroken && n == len(j.table.names) && j.table.names[i] != "" {
				return j.table.names[i]
			}
		}
	}
	return "row"
}

// render appends the packet for a row to dst; without a template the row is the packet.
func (j *judge) render(dst, row []byte) ([]byte, *schema.FieldError) {
	switch {
	case j.template == nil:
		return bytes.TrimSpace(row), nil
	case j.format == NDJSON:
		return j.object.render(dst, bytes.TrimSpace(row))
	}
	cells, broken := j.cut(row)
	if broken != nil {
		return dst, broken
	}
	for i, column := range j.table.places {
		if len(bytes.TrimSpace(cells[column])) == 0 {
			return dst, &schema.FieldError{Field: j.template.columns[i], Rule: emptyPlace}
		}
		j.values[i] = cells[column]
	}
	var openID []byte
	if j.table.openID >= 0 {
		openID = cells[j.table.openID]
	}
	return j.template.render(dst, openID, j.values)
}

const emptyPlace = "empty, and the template has a place for it"

// cut returns the cells of a row, as many as the header has.
func (j *judge) cut(row []byte) ([][]byte, *schema.FieldError) {
	if j.format == List {
		cell := bytes.TrimSpace(row)
		if bytes.ContainsAny(cell, delimiters+` "`) {
			return nil, &schema.FieldError{Field: "row",
				Rule: "more than an openid, and the first line was one alone"}
		}
		j.cutter.cells = append(j.cutter.cells[:0], cell)
		return j.cutter.cells, nil
	}
	cells, n, rule := j.cutter.cut(row)
	if rule == "" && n != len(j.table.names) {
		rule = fmt.Sprintf("has %d columns, the header %d", n, len(j.table.names))
	}
	if rule != "" {
		return nil, &schema.FieldError{Field: "row", Rule: rule}
	}
	return cells, nil
}

// check checks a packet.
func (j *judge) check(v *verdict) {
	packet, err := schema.Decode(v.packet, j.limits)
	if err != nil {
		if !errors.As(err, &v.problem) {
			v.problem = &schema.FieldError{Field: "packet", Rule: err.Error()}
		}
		return
	}
	v.openID, v.msgType = packet.ToUser, packet.Body.MsgType()
	v.key = keyOf(packet.ToUser)
}
