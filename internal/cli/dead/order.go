package dead

import (
	"cmp"

	"github.com/kefuhq/kefu/internal/letter"
)

// The orders of a list by time. Letters come out of the box in the order in which they died.
const (
	byNewest = "newest"
	byOldest = "oldest"
)

// orders are the others: what comes top.
var orders = []struct {
	name    string
	compare func(a, b letter.Row) int
}{
	{"attempts", func(a, b letter.Row) int { return cmp.Compare(b.Attempts, a.Attempts) }},
	{"errcode", func(a, b letter.Row) int {
		return cmp.Or(cmp.Compare(unanswered(a), unanswered(b)), cmp.Compare(code(a), code(b)))
	}},
	{"reason", func(a, b letter.Row) int { return cmp.Compare(a.Reason, b.Reason) }},
	{"app", func(a, b letter.Row) int { return cmp.Compare(a.AppID, b.AppID) }},
}

// unanswered is 1 for a letter without an errcode: those come last.
func unanswered(r letter.Row) int {
	if r.Errcode == nil {
		return 1
	}
	return 0
}

func code(r letter.Row) int {
	if r.Errcode == nil {
		return 0
	}
	return *r.Errcode
}

// orderNames are the values of --sort.
func orderNames() []string {
	names := []string{byNewest, byOldest}
	for _, o := range orders {
		names = append(names, o.name)
	}
	return names
}

// byTime says whether letters are listed as they lie in the box, in either direction.
func (d *list) byTime() bool { return d.sort == "" || d.sort == byNewest || d.sort == byOldest }

// compare returns the order of --sort, when it is not by time.
func (d *list) compare() func(a, b letter.Row) int {
	for _, o := range orders {
		if o.name == d.sort {
			return func(a, b letter.Row) int { return cmp.Or(o.compare(a, b), cmp.Compare(b.Seq, a.Seq)) }
		}
	}
	return nil
}
