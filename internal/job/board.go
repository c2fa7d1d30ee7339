package job

import (
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/broker"
)

// board is what the bucket says of jobs. It is not safe for concurrent use.
type board struct {
	orders map[string]Order
	parts  map[string]map[string]Part // by job and app
	desks  map[string]desk            // by app
}

func newBoard() *board {
	return &board{
		orders: make(map[string]Order), parts: make(map[string]map[string]Part),
		desks: make(map[string]desk),
	}
}

// apply takes over a change of a key. Keys of other packages are passed over.
func (b *board) apply(e broker.StateEntry) error {
	if appID, ok := strings.CutPrefix(e.Key, deskKeys); ok {
		var d desk
		err := decode(e, &d)
		b.desks[appID] = d
		return err
	}
	rest, ok := strings.CutPrefix(e.Key, jobKeys)
	if !ok {
		return nil
	}
	id, what, _ := strings.Cut(rest, ".")
	appID, isPart := strings.CutPrefix(what, "part.")
	switch {
	case what == "order" && e.Deleted:
		delete(b.orders, id)
	case what == "order":
		o := Order{}
		if err := decode(e, &o); err != nil {
			return err
		}
		o.revision = e.Seq
		b.orders[id] = o
	case isPart && e.Deleted:
		delete(b.parts[id], appID)
	case isPart:
		p := Part{}
		if err := decode(e, &p); err != nil {
			return err
		}
		p.revision = e.Seq
		b.put(p)
	}
	return nil
}

func (b *board) put(p Part) {
	if b.parts[p.Job] == nil {
		b.parts[p.Job] = make(map[string]Part)
	}
	if p.revision > b.parts[p.Job][p.AppID].revision {
		b.parts[p.Job][p.AppID] = p
	}
}

// job is one job as far as it is known.
func (b *board) job(id string) (Job, bool) {
	o, ok := b.orders[id]
	if !ok {
		return Job{}, false
	}
	j := Job{Order: o}
	for _, appID := range o.AppIDs() {
		if p, ok := b.parts[id][appID]; ok {
			j.Parts = append(j.Parts, p)
		}
	}
	return j, true
}

// all are the jobs, the one that was ordered last first.
func (b *board) all() []Job {
	var out []Job
	for id := range b.orders {
		j, _ := b.job(id)
		out = append(out, j)
	}
	slices.SortFunc(out, func(x, y Job) int { return y.At.Compare(x.At) })
	return out
}

// step is the step of a job that is under way in an app; nil if there is none.
func (b *board) step(job, appID string) *Step {
	step, ok := b.desks[appID].Steps[job]
	if !ok {
		return nil
	}
	return &step
}
