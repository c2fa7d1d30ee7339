package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ChangeKind says what a difference means.
type ChangeKind string

// The kinds of difference between the objects at the broker and those asked for.
const (
	Create  ChangeKind = "create"  // the object is missing
	Update  ChangeKind = "update"  // can be changed in place, nothing is lost
	Lossy   ChangeKind = "lossy"   // can be changed in place, but drops what is stored
	Refused ChangeKind = "refused" // cannot be changed while the object holds messages
)

// Change is one difference.
type Change struct {
	Stream string     `json:"stream"`
	Field  string     `json:"field,omitempty"` // empty for Create
	Have   string     `json:"have,omitempty"`
	Want   string     `json:"want,omitempty"`
	Kind   ChangeKind `json:"kind"`
}

func (c Change) String() string {
	if c.Kind == Create {
		return c.Stream + ": create"
	}
	return fmt.Sprintf("%s: %s is %s, wanted %s (%s)", c.Stream, c.Field, c.Have, c.Want, c.Kind)
}

// Plan is what would have to be done so that the broker holds what a Spec asks for.
type Plan struct {
	Changes []Change
	steps   []step
}

type step struct {
	want jetstream.StreamConfig
	have *jetstream.StreamConfig // nil: create
	todo []Change
}

// NewPlan compares the broker with spec and changes nothing. Limits that an
// operator set on other fields than ours (placement, metadata) are left alone.
func NewPlan(ctx context.Context, js jetstream.JetStream, spec Spec) (*Plan, error) {
	p := &Plan{}
	for _, want := range Streams(spec) {
		s, err := js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			p.add(step{want: want, todo: []Change{{Stream: want.Name, Kind: Create}}})
			continue
		}
		if err != nil {
			return nil, explain(fmt.Errorf("look at stream %s: %w", want.Name, err))
		}
		info := s.CachedInfo()
		if todo := compare(info.Config, want, info.State); len(todo) > 0 {
			p.add(step{want: want, have: &info.Config, todo: todo})
		}
	}
	return p, nil
}

func (p *Plan) add(s step) {
	p.steps = append(p.steps, s)
	p.Changes = append(p.Changes, s.todo...)
}

// Kinds counts the changes of one kind.
func (p *Plan) Kinds(kind ChangeKind) int {
	n := 0
	for _, c := range p.Changes {
		if c.Kind == kind {
			n++
		}
	}
	return n
}

// Apply creates what is missing and updates what differs. A stream with a
// Refused change is left as it is, and so is one with a Lossy change unless
// lossy is true. What was left is returned.
func (p *Plan) Apply(ctx context.Context, js jetstream.JetStream, lossy bool) (left []Change, err error) {
	for _, s := range p.steps {
		keep := slices.DeleteFunc(slices.Clone(s.todo), func(c Change) bool {
			return c.Kind == Create || c.Kind == Update || c.Kind == Lossy && lossy
		})
		if len(keep) > 0 {
			left = append(left, keep...)
			continue
		}
		if s.have == nil {
			// Another worker that starts at the same moment may be first: creating the same again is no error.
			if _, err := js.CreateStream(ctx, s.want); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				return left, explain(fmt.Errorf("create stream %s: %w", s.want.Name, err))
			}
			continue
		}
		if _, err := js.UpdateStream(ctx, merge(*s.have, s.want)); err != nil {
			return left, explain(fmt.Errorf("update stream %s: %w", s.want.Name, err))
		}
	}
	return left, nil
}

// explain puts the one sentence an operator needs before the usual suspects.
func explain(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("the broker runs without JetStream: start nats-server with -js or a jetstream block: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the broker did not answer in time (no quorum, or no permission for the JetStream API): %w", err)
	}
	return err
}

// field is one setting of a stream that kefu cares about.
type field struct {
	name string
	get  func(jetstream.StreamConfig) string
	set  func(dst *jetstream.StreamConfig, want jetstream.StreamConfig)
	kind func(have, want jetstream.StreamConfig, state jetstream.StreamState) ChangeKind
}

func always(k ChangeKind) func(a, b jetstream.StreamConfig, s jetstream.StreamState) ChangeKind {
	return func(jetstream.StreamConfig, jetstream.StreamConfig, jetstream.StreamState) ChangeKind { return k }
}

// fields is the whole of what is compared: a setting that is not here is the operator's.
var fields = []field{
	{"subjects", func(c jetstream.StreamConfig) string {
		s := slices.Clone(c.Subjects)
		slices.Sort(s)
		return strings.Join(s, " ")
	}, func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.Subjects = w.Subjects }, always(Update)},
	{"retention", func(c jetstream.StreamConfig) string { return c.Retention.String() },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.Retention = w.Retention }, always(Refused)},
	{"storage", func(c jetstream.StreamConfig) string { return c.Storage.String() },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.Storage = w.Storage }, always(Refused)},
	{"discard", func(c jetstream.StreamConfig) string { return c.Discard.String() },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.Discard = w.Discard }, always(Update)},
	{"live_shards", func(c jetstream.StreamConfig) string { return fmt.Sprint(Shards(c)) },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.SubjectTransform = w.SubjectTransform },
		// What is queued keeps its old shard: a recipient would be in two shards at once.
		func(_, _ jetstream.StreamConfig, s jetstream.StreamState) ChangeKind {
			if s.Msgs > 0 {
				return Refused
			}
			return Update
		}},
	{"max_msgs", func(c jetstream.StreamConfig) string { return unlimited(c.MaxMsgs) },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.MaxMsgs = w.MaxMsgs },
		func(_, w jetstream.StreamConfig, s jetstream.StreamState) ChangeKind {
			return lossyIf(w.MaxMsgs > 0 && s.Msgs > uint64(w.MaxMsgs))
		}},
	{"max_bytes", func(c jetstream.StreamConfig) string { return unlimited(c.MaxBytes) },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.MaxBytes = w.MaxBytes },
		func(_, w jetstream.StreamConfig, s jetstream.StreamState) ChangeKind {
			return lossyIf(w.MaxBytes > 0 && s.Bytes > uint64(w.MaxBytes))
		}},
	{"max_age", func(c jetstream.StreamConfig) string { return c.MaxAge.String() },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.MaxAge = w.MaxAge },
		func(h, w jetstream.StreamConfig, s jetstream.StreamState) ChangeKind {
			return lossyIf(w.MaxAge > 0 && (h.MaxAge == 0 || w.MaxAge < h.MaxAge) && s.Msgs > 0)
		}},
	{"max_msg_size", func(c jetstream.StreamConfig) string { return unlimited(int64(c.MaxMsgSize)) },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.MaxMsgSize = w.MaxMsgSize }, always(Update)},
	{"duplicates", func(c jetstream.StreamConfig) string { return c.Duplicates.String() },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.Duplicates = w.Duplicates }, always(Update)},
	{"replicas", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.Replicas) },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.Replicas = w.Replicas }, always(Update)},
	{"allow_direct", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.AllowDirect) },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.AllowDirect = w.AllowDirect }, always(Update)},
	{"allow_atomic", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.AllowAtomicPublish) },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.AllowAtomicPublish = w.AllowAtomicPublish }, always(Update)},
	{"allow_msg_schedules", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.AllowMsgSchedules) },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) { d.AllowMsgSchedules = w.AllowMsgSchedules }, always(Update)},
	{"allow_msg_ttl", func(c jetstream.StreamConfig) string { return fmt.Sprint(c.AllowMsgTTL) },
		func(d *jetstream.StreamConfig, w jetstream.StreamConfig) {
			d.AllowMsgTTL, d.SubjectDeleteMarkerTTL, d.AllowRollup = w.AllowMsgTTL, w.SubjectDeleteMarkerTTL, w.AllowRollup
		}, always(Update)},
}

func lossyIf(lossy bool) ChangeKind {
	if lossy {
		return Lossy
	}
	return Update
}

func unlimited(n int64) string {
	if n <= 0 {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func compare(have, want jetstream.StreamConfig, state jetstream.StreamState) []Change {
	var out []Change
	for _, f := range fields {
		if h, w := f.get(have), f.get(want); h != w {
			out = append(out, Change{Stream: want.Name, Field: f.name, Have: h, Want: w, Kind: f.kind(have, want, state)})
		}
	}
	return out
}

// merge lays our settings over what is there, so that an operator's placement
// or metadata survive.
func merge(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	out := have
	out.Metadata = maps.Clone(have.Metadata)
	for _, f := range fields {
		f.set(&out, want)
	}
	return out
}
