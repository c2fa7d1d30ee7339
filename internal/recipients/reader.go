package recipients

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"sync"
)

// Reader reads a file of recipients. It is for one goroutine. It has others judge what it has read
// ahead, which wait for no input: Close returns at once.
type Reader struct {
	options Options
	shape   Shape
	text    *splitter
	sum     hash.Hash // of the file as it is stored
	summary Summary
	seen    seen

	isUTF8  int // of the rows that were taken for GB18030, how many could be UTF-8
	notUTF8 int
	objects []*object // of the judges, when the file is NDJSON for a template
	judges  sync.WaitGroup
	work    chan *batch // to the judges
	ahead   []*batch    // with the judges, in the order of the file
	spare   []*batch
	current *batch
	next    int   // row of current
	ended   error // why nothing more is read ahead
	err     error // what Next has ended with
}

// mostJudges keeps what is read ahead small on large machines.
const mostJudges = 8

// start has the rows judged by as many goroutines as run at once.
func (r *Reader) start(first judge) {
	n := min(runtime.GOMAXPROCS(0), mostJudges)
	ahead := 2*n + 1
	r.work = make(chan *batch, ahead)
	r.current = newBatch()
	for range ahead {
		r.spare = append(r.spare, newBatch())
	}
	for range n {
		j := first
		if t := j.template; t != nil {
			j.values = make([][]byte, len(t.columns))
			j.object = newObject(t)
			r.objects = append(r.objects, j.object)
		}
		j.gb18030 = newGB18030Decoder()
		r.judges.Go(func() {
			for b := range r.work {
				j.judge(b)
				b.judged <- struct{}{}
			}
		})
	}
}

var errClosed = errors.New("the reader was closed")

// Close ends the reading, also before the end of the file. It does not close the file.
func (r *Reader) Close() {
	if r.work != nil {
		close(r.work)
		r.judges.Wait()
		r.work = nil
	}
	if r.err == nil {
		r.err = errClosed
	}
}

// Shape is what the file is written in. Text that begins in ASCII counts as UTF-8 until a character
// that is not ASCII says otherwise.
func (r *Reader) Shape() Shape {
	shape := r.shape
	if r.text.charset == gb18030 {
		shape.Encoding = gb18030Name
	}
	return shape
}

// Summary is what is known of the rows that Next has returned.
func (r *Reader) Summary() Summary { return r.summary }

// Next returns the next row; io.EOF after the last. Any other error means that the rest of the file
// cannot be read, or that the file as a whole is not what it should be; it names the line or the
// place and no value. Next waits for input as long as that takes, and reads ahead of what it
// returns.
func (r *Reader) Next() (Row, error) {
	if r.err != nil {
		return Row{}, r.err
	}
	for r.next == len(r.current.rows) {
		if r.err = r.advance(); r.err != nil {
			return Row{}, r.err
		}
	}
	v := &r.current.rows[r.next]
	r.next++
	row := Row{Number: r.summary.Rows, Line: v.line, Raw: v.raw}
	if v.problem != nil {
		row.Problem = &Problem{Line: v.line, Field: v.problem.Field, Rule: v.problem.Rule}
	} else {
		row.OpenID, row.MsgType, row.Packet = v.openID, v.msgType, v.packet
		row.Repeated = r.seen.add(v.key)
	}
	r.summary.count(row)
	return row, nil
}

func (s *Summary) count(row Row) {
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

// advance takes the next batch that is judged, once as many as may be are read ahead.
func (r *Reader) advance() error {
	r.spare = append(r.spare, r.current)
	r.current, r.next = &batch{}, 0
	for r.ended == nil && len(r.ahead) < cap(r.work) {
		b := r.spare[len(r.spare)-1]
		r.spare = r.spare[:len(r.spare)-1]
		r.fill(b)
		r.ahead = append(r.ahead, b)
		r.work <- b
	}
	if len(r.ahead) == 0 {
		return r.end()
	}
	r.current = r.ahead[0]
	r.ahead = slices.Delete(r.ahead, 0, 1)
	<-r.current.judged
	r.isUTF8 += r.current.isUTF8
	r.notUTF8 += r.current.notUTF8
	return nil
}

// fill reads rows into a batch.
func (r *Reader) fill(b *batch) {
	b.reset()
	for !b.isFull() {
		row, err := r.text.next()
		if err != nil {
			r.ended = err
			break
		}
		b.add(row)
	}
	b.gb18030 = r.text.charset == gb18030
}

// end says what is to be said after the last row.
func (r *Reader) end() error {
	if !errors.Is(r.ended, io.EOF) {
		return r.ended
	}
	if r.shape.Encoding != gb18030Name && r.isUTF8 > r.notUTF8 {
		return errors.New("the first rows that are not ASCII are GB18030, and most others UTF-8: " +
			"say in which encoding the file is")
	}
	if err := r.unmet(); err != nil {
		return err
	}
	r.summary.File = hex.EncodeToString(r.sum.Sum(nil))
	return io.EOF
}

// unmet finds the place that no row has: a misspelt one, better said once than for each row. Where
// no row is an object, that is what is to be said.
func (r *Reader) unmet() error {
	if !slices.ContainsFunc(r.objects, func(o *object) bool { return o.any }) {
		return nil
	}
	for i, name := range r.options.Template.columns {
		if !slices.ContainsFunc(r.objects, func(o *object) bool { return o.met[i] }) {
			return fmt.Errorf("the template has {{%s}}, and no row has it", name)
		}
	}
	return nil
}
