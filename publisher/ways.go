package publisher

import "time"

// Single publishes are faster where the broker's disk syncs now and then, batches where it syncs
// each write or has replicas to ask: by a factor of two one way and of six the other (measured).
const (
	// sampled is how many single publishes tell how fast they are: enough for the way to the broker
	// not to count, few enough where each takes milliseconds.
	sampled = 256

	// sampledEvery is after how many publishes the slower way is tried again: the broker changes.
	sampledEvery = 64
)

// ways chooses the faster of two ways to publish many.
type ways struct {
	single, batch time.Duration // what one message takes; 0: not known
	used          int           // how often one was chosen
}

// choose says how the next of n are published, and how many of them.
func (w *ways) choose(n int) (batch bool, some int) {
	w.used++
	again := w.used%sampledEvery == 0
	switch isFaster := w.batch < w.single; {
	case w.single == 0, again && isFaster:
		return false, min(n, sampled)
	case w.batch == 0, again:
		return true, n
	default:
		return isFaster, n
	}
}

// note says how long n took.
func (w *ways) note(batch bool, n int, took time.Duration) {
	switch {
	case n < minBatch: // the way to the broker is most of it
	case batch:
		w.batch = max(1, took/time.Duration(n))
	default:
		w.single = max(1, took/time.Duration(n))
	}
}
