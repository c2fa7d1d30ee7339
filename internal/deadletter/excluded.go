package deadletter

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Exclusion is how many letters one condition of a filter excludes.
type Exclusion struct {
	Condition string // its name in Words: "errcode"
	Value     string // what it asks for; "" where that names a recipient
	Count     int    // letters that it excludes, whatever the other conditions do
	Alone     int    // of them, those that every other condition chooses

	// Instead is what the excluded letters have there, those of Alone if there are any, the most
	// frequent first. It is empty where that may name a recipient, or says little.
	Instead []string
	// Oldest and Newest are when the first and the last of these letters died.
	Oldest, Newest time.Time
}

// Exclusions says why a filter chooses none of the letters that were looked at.
type Exclusions struct {
	Looked int
	Of     []Exclusion // each condition, in the order of Words
}

// Most returns the condition that excludes most: of letters that every other condition chooses, or
// if there are none, of all. One that excludes the very letter whose id is given comes before the
// id. false when there is no condition, or no letter.
func (e Exclusions) Most() (Exclusion, bool) {
	if len(e.Of) == 0 || e.Looked == 0 {
		return Exclusion{}, false
	}
	blamed := func(x Exclusion) int {
		if x.Condition == "id" {
			return 0
		}
		return min(x.Alone, 1)
	}
	return slices.MaxFunc(e.Of, func(a, b Exclusion) int {
		return cmp.Or(blamed(a)-blamed(b), a.Alone-b.Alone, a.Count-b.Count)
	}), true
}

// Excluded looks at every letter in the box, and says which of a filter's conditions exclude how
// many.
func (b *Box) Excluded(ctx context.Context, filter Filter) (Exclusions, error) {
	e := newExcluded(filter)
	err := b.skim(ctx, Filter{}, func(i Item) error {
		e.add(&i.Letter)
		return nil
	})
	return e.exclusions(), err
}

// excluded is gathered letter by letter.
type excluded struct {
	looked     int
	conditions []condition
	alone, all []excludes // by condition
}

// excludes is about the letters that a condition excludes.
type excludes struct {
	count          int
	values         map[string]int // what they have instead
	oldest, newest time.Time
}

// mostValues bounds what is remembered of what letters have instead: producers choose campaigns.
const mostValues = 1000

func newExcluded(f Filter) *excluded {
	conditions := f.conditions(new(folded))
	return &excluded{conditions: conditions, alone: make([]excludes, len(conditions)),
		all: make([]excludes, len(conditions))}
}

func (e *excluded) add(l *schema.Letter) {
	e.looked++
	fails, last := 0, 0
	for i, c := range e.conditions {
		if !c.holds(l) {
			fails, last = fails+1, i
			e.all[i].add(c, l)
		}
	}
	if fails == 1 {
		e.alone[last].add(e.conditions[last], l)
	}
}

func (e *excludes) add(c condition, l *schema.Letter) {
	e.count++
	if e.oldest.IsZero() || l.DiedAt.Before(e.oldest) {
		e.oldest = l.DiedAt
	}
	if l.DiedAt.After(e.newest) {
		e.newest = l.DiedAt
	}
	if c.has == nil {
		return
	}
	value := c.has(l)
	if value == "" {
		return
	}
	if _, known := e.values[value]; !known && len(e.values) >= mostValues {
		return
	}
	if e.values == nil {
		e.values = make(map[string]int)
	}
	e.values[strings.Clone(value)]++
}

// instead returns the most frequent values.
func (e *excludes) instead() []string {
	const most = 3
	values := slices.SortedFunc(maps.Keys(e.values), func(a, b string) int {
		return cmp.Or(e.values[b]-e.values[a], strings.Compare(a, b))
	})
	return values[:min(most, len(values))]
}

func (e *excluded) exclusions() Exclusions {
	out := Exclusions{Looked: e.looked}
	for i, c := range e.conditions {
		named := false
		value := c.value(func(string) string { named = true; return "" })
		if named {
			value = ""
		}
		of := e.all[i]
		if e.alone[i].count > 0 {
			of = e.alone[i]
		}
		out.Of = append(out.Of, Exclusion{
			Condition: c.name, Value: value, Count: e.all[i].count, Alone: e.alone[i].count,
			Instead: of.instead(), Oldest: of.oldest, Newest: of.newest,
		})
	}
	return out
}
