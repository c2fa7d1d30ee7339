package recipients

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/kefuhq/kefu/schema"
)

// Reader reads a file of recipients. It is for one goroutine.
type Reader struct {
	options Options
	shape   Shape
	rows    reader
	sum     hash.Hash
	summary Summary
	seen    map[[16]byte]struct{}
	buffer  []byte
	err     error
}

// Open reads the start of a file and finds out what it is written in. An error is about the file as
// a whole, names no value, and says what to do. The caller closes the reader.
func Open(in io.Reader, o Options) (*Reader, error) {
	r := &Reader{options: o, sum: sha256.New(), seen: make(map[[16]byte]struct{}),
		summary: Summary{MsgTypes: make(map[string]int)}}
	if o.Template != nil {
		r.summary.Template = o.Template.Digest()
	}
	if o.Format == "" {
		o.Format = CSV
	}
	r.shape = Shape{Encoding: "UTF-8", Format: o.Format}
	var err error
	r.rows, err = newReader(io.TeeReader(in, r.sum), o.Format, o.Template)
	return r, err
}

// Close ends the reading, also before the end of the file. It does not close the file.
func (r *Reader) Close() {}

// Shape is what the file is written in, as far as it was read: the encoding of a file that begins
// in ASCII is known when its first other character was read.
func (r *Reader) Shape() Shape { return r.shape }

// Summary is what is known of the rows that Next returned.
func (r *Reader) Summary() Summary { return r.summary }

// Next returns the next row; io.EOF after the last. Any other error means that the rest of the file
// cannot be read, or that the file as a whole is not what it should be; it names the line or the
// place and no value.
func (r *Reader) Next() (Row, error) {
	if r.err != nil {
		return Row{}, r.err
	}
	line, packet, err := r.rows.next(r.buffer[:0])
	r.buffer = packet
	row := Row{Number: r.summary.Rows, Line: line}
	var broken *schema.FieldError
	switch {
	case errors.As(err, &broken):
		row.Problem = &Problem{Line: line, Field: broken.Field, Rule: broken.Rule}
	case errors.Is(err, io.EOF):
		if r.err = r.rows.end(); r.err == nil {
			r.summary.File = hex.EncodeToString(r.sum.Sum(nil))
			r.err = io.EOF
		}
		return Row{}, r.err
	case err != nil:
		r.err = fmt.Errorf("line %d: %w", line, err)
		return Row{}, r.err
	default:
		r.judge(&row, packet)
	}
	r.count(row)
	return row, nil
}

func (r *Reader) judge(row *Row, raw []byte) {
	packet, err := schema.Decode(raw, r.options.Limits)
	if err != nil {
		row.Problem = &Problem{Line: row.Line, Field: "packet", Rule: err.Error()}
		var broken *schema.FieldError
		if errors.As(err, &broken) {
			row.Problem.Field, row.Problem.Rule = broken.Field, broken.Rule
		}
		return
	}
	row.OpenID, row.MsgType, row.Packet = packet.ToUser, packet.Body.MsgType(), raw
	sum := sha256.Sum256([]byte(packet.ToUser))
	key := [16]byte(sum[:16])
	if _, row.Repeated = r.seen[key]; !row.Repeated {
		r.seen[key] = struct{}{}
	}
}

func (r *Reader) count(row Row) {
	s := &r.summary
	s.Rows++
	switch {
	case row.Problem != nil:
		s.Invalid++
		if len(s.Problems) < MostProblems {
			s.Problems = append(s.Problems, *row.Problem)
		}
	case row.Repeated:
		s.Repeated++
	default:
		s.Recipients++
		s.MsgTypes[row.MsgType]++
	}
}
