//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// trap is what to do at a point.
type trap struct {
	point   Point
	panic   bool   // instead of killing the process
	nth     int64  // only the nth intent that reaches the point; 0: each
	id      string // only the intent of this id; "": any
	reached atomic.Int64
}

var traps []*trap

// Arm sets the traps. It is called once, before anything runs.
func Arm(spec string) error {
	for text := range strings.SplitSeq(spec, ",") {
		if text == "" {
			continue
		}
		point, action, _ := strings.Cut(text, "=")
		t := &trap{point: Point(point)}
		if !slices.Contains(Points(), t.point) {
			return fmt.Errorf("FAILPOINT: no point %q", point)
		}
		action, t.id, _ = strings.Cut(action, "#")
		action, nth, counted := strings.Cut(action, "@")
		if counted {
			n, err := strconv.ParseInt(nth, 10, 64)
			if err != nil || n < 1 {
				return fmt.Errorf("FAILPOINT: %q counts from 1", text)
			}
			t.nth = n
		}
		switch action {
		case "kill":
		case "panic":
			t.panic = true
		default:
			return fmt.Errorf("FAILPOINT: %q orders neither kill nor panic", text)
		}
		traps = append(traps, t)
	}
	return nil
}

// Reach does what is set for a point.
func Reach(p Point, id string) {
	for _, t := range traps {
		if t.point != p || t.id != "" && t.id != id {
			continue
		}
		if n := t.reached.Add(1); t.nth != 0 && n != t.nth {
			continue
		}
		if t.panic {
			panic("failpoint " + string(p))
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal arrives
	}
}
