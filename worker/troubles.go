package worker

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// troubles are what keeps the worker from its work, one sentence for a subject.
// Nothing here waits for the broker.
type troubles struct {
	log *slog.Logger

	mu        sync.Mutex
	sentences map[string]string
	refused   map[string]int // deliveries whose end a stream has refused, by stream
	count     atomic.Int32   // of sentences
}

func newTroubles(log *slog.Logger) *troubles {
	return &troubles{log: log, sentences: make(map[string]string), refused: make(map[string]int)}
}

// set sets or, with an empty sentence, clears what is said about a subject. It
// logs the beginning and the end.
func (t *troubles) set(subject, sentence string) {
	if sentence == "" && t.count.Load() == 0 {
		return // the usual case, for each receipt: no lock
	}
	t.mu.Lock()
	before := t.sentences[subject]
	if sentence == "" {
		delete(t.sentences, subject)
	} else {
		t.sentences[subject] = sentence
	}
	t.count.Store(int32(len(t.sentences)))
	t.mu.Unlock()
	switch {
	case sentence != "" && before == "":
		t.log.Error(sentence, "subject", subject)
	case sentence == "" && before != "":
		t.log.Info("over: "+before, "subject", subject)
	}
}

// all lists the sentences.
func (t *troubles) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.sentences))
}

// countRefused counts the deliveries whose end a stream refuses, and returns how
// many there are now.
func (t *troubles) countRefused(stream string, change int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused[stream] += change
	return t.refused[stream]
}
