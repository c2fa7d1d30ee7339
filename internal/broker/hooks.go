package broker

import (
	"slices"
	"sync"
)

// hooks is a list of functions that are called together, in the order in which
// they were added.
type hooks struct {
	mu sync.Mutex
	fs []*func()
}

func (h *hooks) add(f func()) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := &f // an identity of its own: functions cannot be compared
	h.fs = append(h.fs, own)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.fs = slices.DeleteFunc(slices.Clone(h.fs), func(x *func()) bool { return x == own })
	}
}

// run calls them without the lock: a hook may add or remove others.
func (h *hooks) run() {
	h.mu.Lock()
	fs := slices.Clone(h.fs)
	h.mu.Unlock()
	for _, f := range fs {
		(*f)()
	}
}
