package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/schema"
)

// spec is what the order of a replay says beside what every order does.
type spec struct {
	Filter  deadletter.Filter `json:"filter"`
	Box     time.Time         `json:"box"`     // when KEFU_DEAD was made
	Through uint64            `json:"through"` // what dies from there on is not of this replay
	Options Options           `json:"options"`
}

// step is letters that are published together.
type step struct {
	Box     time.Time  `json:"box"`
	At      time.Time  `json:"at"`     // when they were chosen
	Cursor  uint64     `json:"cursor"` // of the part when all of it is done
	Letters []stepItem `json:"letters"`
	Left    int        `json:"left,omitempty"` // letters between them that were left alone
	Notes   notes.List `json:"notes,omitempty"`
}

type stepItem struct {
	Seq        uint64 `json:"seq"`
	ID         string `json:"id"`  // of the letter
	Generation int    `json:"gen"` // of the letter
	Sequence   uint64 `json:"src"` // of the letter's message, which an id of its own names
}

// letter is as much of a letter as its targets depend on.
func (i stepItem) letter(appID string) *deadletter.Item {
	return &deadletter.Item{Seq: i.Seq, Letter: schema.Letter{
		AppID: appID, ID: i.ID, Generation: i.Generation, Sequence: i.Sequence,
	}}
}

// stepOf reads a step. One of another kind of job has no letters.
func stepOf(s job.Step) (out step) {
	_ = json.Unmarshal(s.Body, &out)
	return out
}

const (
	mostInStep = 500

	// stepLasts is about how long a step takes at its rate.
	stepLasts = 500 * time.Millisecond

	// window is through how many letters one choice looks: the others of an app wait meanwhile.
	window = 20_000

	// firstEnds is for how long a replay waits for the first of its letters to end.
	firstEnds = 10 * time.Second
)

// Choose takes the next letters of a part. It implements [job.Work].
func (w *Work) Choose(
	ctx context.Context, o job.Order, p job.Part, others []job.Step,
) (job.Choice, error) {
	var spec spec
	if err := json.Unmarshal(o.Spec, &spec); err != nil {
		return job.Choice{}, fmt.Errorf("read the order: %w", err)
	}
	extent, err := w.box.Extent(ctx)
	if err != nil {
		return job.Choice{}, err
	}
	if !extent.Made.Equal(spec.Box) {
		r := job.Result{Done: true}
		r.Notes.Add("the box was deleted and made anew", "")
		return job.Choice{Result: r}, nil
	}
	s, err := w.open(ctx, p.AppID, spec.Box)
	if err != nil || s.othersWait(o.ID) {
		return job.Choice{}, err
	}
	most, halt := w.most(s, o, p, spec.Options)
	if most == 0 {
		return job.Choice{Result: job.Result{Halt: halt}}, nil
	}
	c := choosing{
		session: s, spec: spec, most: most, taken: make(map[uint64]bool),
		from: max(p.Cursor+1, extent.First),
	}
	c.step = step{Box: spec.Box, At: time.Now().UTC(), Cursor: p.Cursor}
	for _, other := range others {
		for _, l := range stepOf(other).Letters {
			c.taken[l.Seq] = true
		}
	}
	return c.choose(ctx, w.box, p)
}

// most is how many letters the next step may have; when it is 0, halt says why the job halts, or is
// empty when it only waits for the first ends.
func (w *Work) most(s *session, o job.Order, p job.Part, options Options) (most int, halt string) {
	most = mostInStep
	if rate := o.Share(p.AppID); rate > 0 {
		most = min(max(int(rate*stepLasts.Seconds()), 1), mostInStep)
	}
	ends, known := w.ends(o.ID, p.AppID)
	if options.HaltAfter <= 0 || o.Resumes > 0 || !known || ends.Sent > 0 {
		return most, ""
	}
	if ends.Dead >= options.HaltAfter {
		return 0, fmt.Sprintf("the first %d of %s died again", ends.Dead, p.AppID)
	}
	if room := options.HaltAfter - p.Published; room > 0 {
		return min(most, room), ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filled[o.ID].IsZero() {
		s.filled[o.ID] = time.Now()
	}
	if time.Since(s.filled[o.ID]) < firstEnds {
		return 0, ""
	}
	return most, "" // they wait, as for a hold: what can be told of them comes later
}

// choosing is one choice.
type choosing struct {
	*session
	spec  spec
	most  int
	from  uint64          // first sequence that is looked at
	taken map[uint64]bool // by other jobs
	step  step
}

// errTakenByOther ends a choice at a letter that another job has in hand: what became of it must
// be known first.
var errTakenByOther = errors.New("another job has the next letter in hand")

func (c *choosing) choose(
	ctx context.Context, box *deadletter.Box, p job.Part,
) (job.Choice, error) {
	filter := c.spec.Filter
	filter.AppID = p.AppID
	through := min(c.spec.Through, c.from+window)
	err := box.Range(ctx, filter, c.from, through, func(item deadletter.Item) error {
		return c.add(ctx, item)
	})
	end := err == nil
	if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, errTakenByOther) {
		return job.Choice{}, err
	}
	if end {
		c.step.Cursor = through
	}
	if len(c.step.Letters) > 0 {
		body, err := json.Marshal(c.step)
		return job.Choice{Step: body}, err
	}
	r := job.Result{Left: c.step.Left, Notes: c.step.Notes, Done: end && through == c.spec.Through}
	if c.step.Cursor > p.Cursor {
		r.Cursor = c.step.Cursor
	}
	if errors.Is(err, errTakenByOther) {
		c.wait(p.Job)
	}
	return job.Choice{Result: r}, nil
}

// add takes one letter, or notes why it is left alone.
func (c *choosing) add(ctx context.Context, item deadletter.Item) error {
	switch {
	case c.taken[item.Seq]:
		return errTakenByOther
	case len(c.step.Letters) >= c.most:
		return errEnough
	}
	v, err := c.judge(ctx, &item, c.spec.Options)
	if err != nil {
		return err
	}
	c.step.Cursor = item.Seq
	if v.action == keepLetter {
		c.step.Left++
		c.step.Notes.Add(v.why.Error(), item.Letter.ID)
		return nil
	}
	l := &item.Letter
	c.step.Letters = append(c.step.Letters, stepItem{item.Seq, l.ID, l.Generation, l.Sequence})
	return nil
}
