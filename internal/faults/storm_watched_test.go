//go:build faults

package faults

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/stage"
)

// TestLiveWhileWatched offers live traffic by turns to a worker that nobody watches, and to the
// same with its metrics scraped 20 times a second and 20 pages of its console open.
func TestLiveWhileWatched(t *testing.T) {
	rounds, perSecond, lasts := 2, 100, 2*time.Second
	if *full {
		rounds, perSecond, lasts = 12, 200, 10*time.Second
	}
	s := &scene{Stage: stage.New(t, stage.Options{})}
	s.StartBroker()
	p := s.Start("KEFU_CONSOLE_LISTEN=127.0.0.1:0")
	console := s.consoleURL()
	s.offer([]string{stage.App}, "warm-up", perSecond, lasts)
	s.Drained()

	quiet, watched := make(map[string]time.Time), make(map[string]time.Time)
	var seen watching
	for round := range rounds {
		maps.Copy(quiet, s.offer([]string{stage.App}, fmt.Sprintf("quiet%d", round), perSecond, lasts))
		s.Drained()
		ctx, stop := context.WithCancel(t.Context())
		watchers := seen.begin(ctx, p.Probes(), console)
		maps.Copy(watched, s.offer([]string{stage.App}, fmt.Sprintf("watched%d", round), perSecond, lasts))
		stop()
		watchers.Wait()
		s.Drained()
	}
	s.Zero(seen.failed.Load(), "pages and scrapes that failed")
	s.Positive(seen.scrapes.Load())
	s.GreaterOrEqual(seen.pages.Load(), int64(20*rounds))
	without, with := s.queueTimes(quiet), s.queueTimes(watched)
	s.Len(without, len(quiet))
	s.Len(with, len(watched))
	report("live while watched", fmt.Sprintf("live %d/s, by turns %d times %s without and with 20 "+
		"scrapes a second and 20 pages of the console in the worker's own process", perSecond,
		rounds, lasts),
		fmt.Sprintf("to the API p50 %s and %s, p99 %s and %s (%.2f); %d scrapes and %d pages",
			quantile(without, .5), quantile(with, .5), quantile(without, .99), quantile(with, .99),
			float64(p99(with))/float64(p99(without)), seen.scrapes.Load(), seen.pages.Load()))
}

var consoleLine = regexp.MustCompile(`"msg":"console","url":"([^"]+)"`)

// consoleURL is where the worker serves its console.
func (s *scene) consoleURL() (url string) {
	s.T.Helper()
	s.until("the worker serves its console", func() bool {
		if m := consoleLine.FindStringSubmatch(s.Output.String()); m != nil {
			url = m[1]
		}
		return url != ""
	})
	return url
}

// watching counts what is looked at.
type watching struct{ scrapes, pages, failed atomic.Int64 }

// begin looks until ctx ends, as Prometheus and as browsers do.
func (w *watching) begin(ctx context.Context, probes, console string) *sync.WaitGroup {
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(time.Second / 20)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if w.get(ctx, probes+"/metrics", nil) {
					w.scrapes.Add(1)
				}
			}
		}
	})
	for i := range 20 {
		path := []string{"/", "/tail", "/workers", "/app/" + stage.App}[i%4]
		all.Go(func() { w.page(ctx, console, path) })
	}
	return &all
}

// page is a page that stays open: it is fetched anew whenever the server says that something
// changed.
func (w *watching) page(ctx context.Context, console, path string) {
	tag := ""
	fetch := func() {
		if w.get(ctx, console+path, &tag) {
			w.pages.Add(1)
		}
	}
	fetch()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, console+"/live", nil)
	if err != nil {
		w.failed.Add(1)
		return
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		if ctx.Err() == nil {
			w.failed.Add(1)
		}
		return
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "event: change") {
			fetch()
		}
	}
	if ctx.Err() == nil {
		w.failed.Add(1)
	}
}

// get fetches something, and says whether it was answered.
func (w *watching) get(ctx context.Context, url string, tag *string) bool {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		w.failed.Add(1)
		return false
	}
	if tag != nil && *tag != "" {
		q.Header.Set("If-None-Match", *tag)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		if ctx.Err() == nil {
			w.failed.Add(1)
		}
		return false
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err == nil && resp.StatusCode < 400 {
		if tag != nil {
			*tag = resp.Header.Get("ETag")
		}
		return true
	}
	if ctx.Err() == nil {
		w.failed.Add(1)
	}
	return false
}
