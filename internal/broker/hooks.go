package broker

import "sync"

// hooks is a list of functions that are called together.
type hooks struct {
	mu sync.Mutex
	fs []func()
}

func (h *hooks) add(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fs = append(h.fs, f)
}

func (h *hooks) run() {
	h.mu.Lock()
	fs := h.fs
	h.mu.Unlock()
	for _, f := range fs {
		f()
	}
}
