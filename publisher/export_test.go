package publisher

// What tests of the outside need of the inside.

// Remember has the watcher forget all but the newest n receipts.
func (w *Watcher) Remember(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep = n
}
