package campaign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/kefuhq/kefu/schema"
)

// Job is a campaign: whom to send what.
type Job struct {
	AppID    string
	Campaign string // its name, a subject token
	Source   Source
	Template *Template     // nil: the rows of an NDJSON file are packets
	Limits   schema.Limits // of the app
}

// Summary is what is known of a file that was read as a whole.
type Summary struct {
	Rows       int            `json:"rows"`       // without the header and blank lines
	Recipients int            `json:"recipients"` // rows to publish: valid, each recipient once
	Invalid    int            `json:"invalid"`    // rows that break a rule
	Repeated   int            `json:"repeated"`   // valid rows but the first of each recipient
	MsgTypes   map[string]int `json:"msgtypes,omitempty"`
	Problems   []Problem      `json:"problems,omitempty"` // the first MostProblems of them
	File       string         `json:"file_sha256"`
	Template   string         `json:"template_sha256,omitempty"`

	seal *seal // of the file's content
}

// Problem is what is wrong with one row. It holds no value of the row.
type Problem struct {
	Line  int    `json:"line"` // where the row begins, from 1
	Field string `json:"field"`
	Rule  string `json:"rule"`
}

// MostProblems is how many problems a summary lists.
const MostProblems = 100

// check says whether app and campaign can stand in a subject.
func (j Job) check() error {
	return schema.BulkSubject(j.AppID, j.Campaign).Check()
}

// Check reads the whole file and says what would be published. Bad rows are no error: they are
// counted and listed. An error means that the file as a whole cannot be used; it names a line or a
// placeholder and no value.
func (j Job) Check(ctx context.Context) (Summary, error) {
	s := Summary{MsgTypes: make(map[string]int)}
	if err := j.check(); err != nil {
		return s, err
	}
	if j.Template != nil {
		s.Template = j.Template.Digest()
	}
	file, err := j.Source.Open()
	if err != nil {
		return s, err
	}
	defer func() { _ = file.Close() }()
	var content fingerprint
	err = j.walk(ctx, io.TeeReader(file, &content), func(r row) error {
		s.Rows++
		switch {
		case r.problem != nil:
			s.Invalid++
			if len(s.Problems) < MostProblems {
				s.Problems = append(s.Problems, *r.problem)
			}
		case r.repeated:
			s.Repeated++
		default:
			s.Recipients++
			s.MsgTypes[r.msgType]++
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	s.seal = content.seal()
	s.File = hex.EncodeToString(s.seal.digest[:])
	return s, nil
}

// row is one row of the file, judged.
type row struct {
	number   int // from 0
	line     int
	problem  *Problem
	repeated bool
	openID   string
	msgType  string
	packet   []byte // valid until the next row
}

// walk reads the job's rows from in and calls f for each.
func (j Job) walk(ctx context.Context, in io.Reader, f func(row) error) error {
	rows, err := newReader(in, j.Source.Format, j.Template)
	if err != nil {
		return err
	}
	// Of each recipient 16 bytes of a hash stay in memory, enough that no two of any file are ever
	// taken for one.
	seen := make(map[[16]byte]struct{})
	var buffer []byte
	for number := 0; ; number++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, packet, err := rows.next(buffer[:0])
		if errors.Is(err, io.EOF) {
			break
		}
		buffer = packet
		r := row{number: number, line: line, packet: packet}
		var broken *schema.FieldError
		switch {
		case errors.As(err, &broken):
			r.problem = &Problem{Line: line, Field: broken.Field, Rule: broken.Rule}
		case errors.Is(err, ErrChanged):
			return err // no line is to blame
		case err != nil:
			return fmt.Errorf("line %d: %w", line, err)
		default:
			j.judge(&r, seen)
		}
		if err := f(r); err != nil {
			return err
		}
	}
	return rows.end()
}

// judge checks a packet and whether its recipient had one before.
func (j Job) judge(r *row, seen map[[16]byte]struct{}) {
	packet, err := schema.Decode(r.packet, j.Limits)
	if err != nil {
		r.problem = &Problem{Line: r.line, Field: "packet", Rule: err.Error()}
		var broken *schema.FieldError
		if errors.As(err, &broken) {
			r.problem.Field, r.problem.Rule = broken.Field, broken.Rule
		}
		return
	}
	r.openID, r.msgType = packet.ToUser, packet.Body.MsgType()
	sum := sha256.Sum256([]byte(packet.ToUser))
	key := [16]byte(sum[:16])
	if _, r.repeated = seen[key]; !r.repeated {
		seen[key] = struct{}{}
	}
}

// verify reads the whole file once more, only to tell whether it still is what was checked.
func (j Job) verify(ctx context.Context, checked *seal) error {
	file, err := j.Source.Open()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.Copy(io.Discard, checked.reader(ctx, file))
	return err
}
