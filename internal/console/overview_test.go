package console_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/pool"
)

func TestWhatWaitsIsNotSaidToBeSettled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Worker(pool.Worker{Name: "w1", Apps: []string{"wx1"}})
	d.Wait("order-1", time.Now().Add(time.Hour))
	first := regexp.MustCompile(`<h1 class="sending good">(.*)</h1>`)
	said := first.FindStringSubmatch(d.get("/", "Accept-Language", "en"))
	d.Equal("Nothing is queued; 1 messages wait for their time or a retry.", said[1])
}
