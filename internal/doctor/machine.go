package doctor

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
)

// zoneSeen is the time zone of the environment.
type zoneSeen struct {
	name string // TZ; "" when it is not set
	err  error  // it is not known here
}

func seeTimeZone(_ context.Context, s *scene) (zoneSeen, error) {
	seen := zoneSeen{name: strings.TrimPrefix(s.Getenv("TZ"), ":")}
	if seen.name != "" && !strings.HasPrefix(seen.name, "/") {
		_, seen.err = time.LoadLocation(seen.name)
	}
	return seen, nil
}

func judgeTimeZone(z zoneSeen) []Finding {
	switch {
	case z.err != nil:
		return []Finding{risky("TZ is "+z.name+", which this machine does not know: times are "+
			"shown in UTC", "Install the time zone data (tzdata), or correct TZ.")}
	case z.name != "":
		return []Finding{well("%s; WeChat's day is computed without it", z.name)}
	}
	return []Finding{well("the machine's; WeChat's day is computed without it")}
}

// filesSeen are limits of open files, and what a worker needs.
type filesSeen struct {
	limits []fileLimit
	needs  int64
	why    string
}

// fileLimit is the limit of one process.
type fileLimit struct {
	process string
	most    int64
}

// Files that a worker opens beside its calls, and that a broker inside it opens for its clients and
// for each stream.
const (
	filesOfWorker = 64
	filesOfBroker = 1024
	filesOfStream = 8
)

func seeOpenFiles(ctx context.Context, s *scene) (filesSeen, error) {
	w := s.Config.Worker
	seen := filesSeen{needs: int64(w.Concurrency) + filesOfWorker,
		why: fmt.Sprintf("worker.concurrency is %d", w.Concurrency)}
	if s.Config.NATS.IsEmbedded() {
		seen.needs += filesOfBroker + filesOfStream*int64(len(s.Config.Apps)+12)
		seen.why += ", and the broker is embedded"
	}
	for _, pid := range s.workersHere(ctx) {
		// Another user's process keeps its limits to itself.
		if most, err := s.openFiles(strconv.Itoa(pid)); err == nil {
			seen.limits = append(seen.limits, fileLimit{fmt.Sprintf("the worker %d", pid), most})
		}
	}
	if len(seen.limits) > 0 {
		return seen, nil
	}
	most, err := s.openFiles("self")
	if err != nil {
		return seen, skipf("this system does not say")
	}
	seen.limits = []fileLimit{{"this process", most}}
	return seen, nil
}

// workersHere returns the process ids of the workers on this machine.
func (s *scene) workersHere(ctx context.Context) (ids []int) {
	conn, _, err := s.stored(wire.StreamState)
	if err != nil {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil
	}
	_ = s.ask(ctx, stateSubjects, func(ctx context.Context) error {
		workers, err := pool.Workers(ctx, conn)
		for _, w := range workers {
			if w.Host == host {
				ids = append(ids, w.PID)
			}
		}
		return err
	})
	return ids
}

// openFiles returns how many files a process may have open.
func (s *scene) openFiles(process string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(s.Root, "proc", process, "limits"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			soft, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			if soft == "unlimited" {
				return math.MaxInt64, nil
			}
			return strconv.ParseInt(soft, 10, 64)
		}
	}
	return 0, os.ErrNotExist
}

func judgeOpenFiles(f filesSeen) []Finding {
	var found []Finding
	for _, l := range f.limits {
		if l.most < f.needs {
			found = append(found, bad(fmt.Sprintf("%s may open %s, and a worker needs about %s: %s",
				l.process, counted(l.most, "file"), grouped(f.needs), f.why),
				fmt.Sprintf("Raise the limit (LimitNOFILE=%[1]d in the systemd unit, ulimit "+
					"-n %[1]d), or lower worker.concurrency.", f.needs)))
		}
	}
	if len(found) > 0 || f.limits[0].most == math.MaxInt64 {
		return or(found, "no limit")
	}
	return []Finding{well("%s may open %s; about %s are needed", f.limits[0].process,
		counted(f.limits[0].most, "file"), grouped(f.needs))}
}

// memorySeen is what a worker needs, and the limits that there are.
type memorySeen struct {
	ledger int64 // bytes of KEFU_LEDGER when it is as old as it gets
	limits []memoryLimit
}

// memoryLimit is a bound on memory, in bytes.
type memoryLimit struct {
	of    string
	bytes int64
}

// What a worker takes, as measured: as README's "Speed" has it, 84 MB for what takes 48 MB in the
// stream, and some 110 MB without any.
const (
	memoryOfWorker  = 110 << 20
	memoryPerStored = 84.0 / 48
)

func seeMemory(ctx context.Context, s *scene) (memorySeen, error) {
	seen := memorySeen{limits: s.memoryLimits(ctx)}
	if len(seen.limits) == 0 {
		return seen, skipf("this system does not say")
	}
	if s.Config.Worker.Ledger.Mode == config.LedgerOff {
		return seen, nil
	}
	_, streams, err := s.stored(wire.StreamLedger)
	if err != nil {
		return seen, err
	}
	state := streams[wire.StreamLedger].State
	seen.ledger = grown(int64(state.Bytes), time.Since(state.FirstTime),
		s.Config.Worker.Ledger.Keep)
	return seen, nil
}

// grown is how large a log will be that keeps what it has for some time, by what it holds of the
// time so far. What holds less than an hour says too little.
func grown(bytes int64, age, keep time.Duration) int64 {
	if age < time.Hour || age >= keep {
		return bytes
	}
	return int64(float64(bytes) * float64(keep) / float64(age))
}

// memoryLimits are those on the workers of this machine; without one those on this process, and so
// on a worker that is started as it was.
func (s *scene) memoryLimits(ctx context.Context) (limits []memoryLimit) {
	for _, pid := range s.workersHere(ctx) {
		of := "the control group of the worker"
		limits = append(limits, s.groupLimits(strconv.Itoa(pid), of)...)
	}
	if len(limits) == 0 {
		limits = s.groupLimits("self", "the control group")
		if n, err := config.ParseSize(s.Getenv("GOMEMLIMIT")); err == nil && n > 0 {
			limits = append(limits, memoryLimit{"GOMEMLIMIT", int64(n)})
		}
	}
	text, _ := os.ReadFile(filepath.Join(s.Root, "proc", "meminfo")) // other systems have none
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				limits = append(limits, memoryLimit{"the machine", n << 10})
			}
		}
	}
	return limits
}

// groupLimits are those of a process's control group and of all above it.
func (s *scene) groupLimits(process, of string) (limits []memoryLimit) {
	own, err := os.ReadFile(filepath.Join(s.Root, "proc", process, "cgroup"))
	if err != nil {
		return nil
	}
	group := "/"
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			group = path
		}
	}
	for dir := filepath.Clean("/" + group); ; dir = filepath.Dir(dir) {
		text, _ := os.ReadFile(filepath.Join(s.Root, "sys/fs/cgroup", dir, "memory.max"))
		// "max", and no file, are none.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			limits = append(limits, memoryLimit{of, n})
		}
		if dir == "/" {
			return limits
		}
	}
}

func judgeMemory(m memorySeen) []Finding {
	least := m.limits[0]
	for _, l := range m.limits {
		if l.bytes < least.bytes {
			least = l
		}
	}
	needs := memoryOfWorker + int64(memoryPerStored*float64(m.ledger))
	text := fmt.Sprintf("a worker needs about %s, %s of it for the ledger, and %s has %s",
		size(needs), size(needs-memoryOfWorker), least.of, size(least.bytes))
	fix := "Give it more (MemoryMax= of the systemd unit, the container's limit, GOMEMLIMIT), or " +
		"lower worker.ledger.keep."
	switch {
	case needs > least.bytes:
		return []Finding{bad(text, fix)}
	case float64(needs) > nearlyFull*float64(least.bytes):
		return []Finding{risky(text, fix)}
	}
	return []Finding{well("%s", text)}
}

// diskSeen is the disk of an embedded broker.
type diskSeen struct {
	dir    string
	free   int64
	queues int64 // what all queues may take
}

func seeDisk(_ context.Context, s *scene) (diskSeen, error) {
	if !s.Config.NATS.IsEmbedded() {
		return diskSeen{}, skipf("the broker's disk is another machine's to watch")
	}
	seen := diskSeen{dir: s.Config.NATS.StoreDir}
	for _, app := range s.Config.Apps {
		seen.queues += int64(app.Queue.Bytes)
	}
	dir, err := filepath.Abs(seen.dir)
	if err != nil {
		return seen, err
	}
	for { // a worker that has never run has not made it yet
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	var ok bool
	if seen.free, ok = freeSpace(dir); !ok {
		return seen, skipf("this system does not say")
	}
	return seen, nil
}

// leastDisk is free space that no broker should go below.
const leastDisk = 1 << 30

func judgeDisk(d diskSeen) []Finding {
	text := fmt.Sprintf("%s free for %s", size(d.free), d.dir)
	switch {
	case d.free < leastDisk:
		return []Finding{bad(text+": a full disk stops every stream",
			"Make room on that disk, or move nats.store_dir to another one.")}
	case d.free < d.queues:
		return []Finding{risky(text+", and the queues may take "+size(d.queues),
			"Lower queue.bytes, make room, or move nats.store_dir to another disk.")}
	}
	return []Finding{well("%s", text)}
}
