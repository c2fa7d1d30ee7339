package page

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// liveEvery is how often a page is told of changes, at most: what changes faster than people
	// read is shown a few times a second.
	liveEvery = 300 * time.Millisecond
	// liveSign is how often a page hears something when nothing changes, so that it notices when
	// the connection is lost.
	liveSign = 10 * time.Second
	// liveWait is how long a browser may take to accept an event.
	liveWait = 5 * time.Second
	// maxLive is how many pages are told of changes at a time.
	maxLive = 512
)

// Hub tells pages that something changed. They fetch themselves then, so that a page that missed a
// change misses nothing.
type Hub struct {
	mu      sync.Mutex
	pages   map[chan struct{}]string // the topic of each
	closed  bool
	done    chan struct{}
	serving sync.WaitGroup
}

// NewHub returns a Hub. The caller closes it.
func NewHub() *Hub {
	return &Hub{pages: make(map[chan struct{}]string), done: make(chan struct{})}
}

// Changed tells the pages of a topic, and those without a topic, that something changed. The empty
// topic is told to all. It never waits.
func (h *Hub) Changed(topic string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for wake, of := range h.pages {
		if topic == "" || of == "" || of == topic {
			select {
			case wake <- struct{}{}:
			default: // it has not been told of the change before yet
			}
		}
	}
}

// Pages returns how many pages listen.
func (h *Hub) Pages() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pages)
}

// Close ends all streams, and waits for them.
func (h *Hub) Close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.done)
	}
	h.mu.Unlock()
	h.serving.Wait()
}

// ServeHTTP streams server-sent events: "change" when something changed, and a comment now and
// then. The parameter topic chooses which changes.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	wake, ok := h.join(r.URL.Query().Get("topic"))
	if !ok {
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer h.leave(wake)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	stream := http.NewResponseController(w)
	send := func(event string) bool {
		// The server's own deadline is for pages. One that cannot be set is no reason to stop.
		_ = stream.SetWriteDeadline(time.Now().Add(liveWait))
		_, err := fmt.Fprint(w, event)
		return err == nil && stream.Flush() == nil
	}
	sign := time.NewTicker(liveSign)
	defer sign.Stop()
	for alive := send("retry: 2000\n: here\n\n"); alive; {
		select {
		case <-r.Context().Done():
			return
		case <-h.done:
			return
		case <-sign.C:
			alive = send("event: sign\ndata: 1\n\n")
		case <-wake:
			alive = send("event: change\ndata: 1\n\n") && h.rest(r)
		}
	}
}

// rest waits before the next change is told, and says whether there may be one.
func (h *Hub) rest(r *http.Request) bool {
	t := time.NewTimer(liveEvery)
	defer t.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-h.done:
		return false
	case <-t.C:
		return true
	}
}

func (h *Hub) join(topic string) (chan struct{}, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.pages) >= maxLive {
		return nil, false
	}
	wake := make(chan struct{}, 1)
	h.pages[wake] = topic
	h.serving.Add(1)
	return wake, true
}

func (h *Hub) leave(wake chan struct{}) {
	h.mu.Lock()
	delete(h.pages, wake)
	h.mu.Unlock()
	h.serving.Done()
}
