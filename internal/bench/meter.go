package bench

import (
	"math"
	"os"
	"time"
)

// meter reads what the processes of a run have used since it was made.
type meter struct {
	workers []processMeter
	broker  processMeter
	self    processMeter
}

type processMeter struct {
	pid    int // 0: there is none to look at
	before cost
	known  bool
}

func newProcessMeter(pid int) processMeter {
	m := processMeter{pid: pid}
	if pid != 0 {
		m.before, m.known = readCost(pid)
	}
	return m
}

func newMeter(workers []*process, server *process) *meter {
	m := &meter{self: newProcessMeter(os.Getpid())}
	for _, w := range workers {
		m.workers = append(m.workers, newProcessMeter(w.cmd.Process.Pid))
	}
	if server != nil {
		m.broker = newProcessMeter(server.cmd.Process.Pid)
	}
	return m
}

// sumUsage returns what was used of several processes: CPU in all, memory of the largest.
func sumUsage(ms ...processMeter) (cost, bool) {
	var sum cost
	for _, m := range ms {
		if !m.known {
			return cost{}, false
		}
		after, known := readCost(m.pid)
		if !known {
			return cost{}, false
		}
		sum.cpu += after.cpu - m.before.cpu
		sum.peak, sum.now = max(sum.peak, after.peak), max(sum.now, after.now)
	}
	return sum, len(ms) > 0
}

// costs are those of a load; nil where they are not known.
type costs struct{ worker, broker, self *cost }

func (m *meter) read() costs {
	var c costs
	for _, part := range []struct {
		into **cost
		of   []processMeter
	}{
		{&c.worker, m.workers},
		{&c.broker, []processMeter{m.broker}},
		{&c.self, []processMeter{m.self}},
	} {
		if spent, known := sumUsage(part.of...); known {
			*part.into = &spent
		}
	}
	return c
}

// per spreads the costs over messages.
func (c costs) per(messages int) (worker, broker, self *Cost) {
	one := func(c *cost) *Cost {
		if c == nil {
			return nil
		}
		out := &Cost{CPUSeconds: c.cpu.Seconds(), PeakMB: megabytes(c.peak)}
		if messages > 0 {
			out.CPUMicros = round(c.cpu.Seconds()*1e6/float64(messages), 1)
		}
		return out
	}
	return one(c.worker), one(c.broker), one(c.self)
}

// settleTime is how long processes that have just started are left alone before anything is
// measured: workers divide the live shards among themselves first.
const settleTime = 3 * time.Second

// idle reads costs as those of waiting for so long; nil where they are not known.
func (c costs) idle(d time.Duration) *Idle {
	if c.worker == nil {
		return nil
	}
	share := func(c *cost) float64 { return round(100*c.cpu.Seconds()/d.Seconds(), 2) }
	idle := &Idle{Seconds: d.Seconds(), WorkerCPU: share(c.worker),
		WorkerMB: megabytes(c.worker.now)}
	if c.broker != nil {
		idle.BrokerCPU, idle.BrokerMB = share(c.broker), megabytes(c.broker.now)
	}
	return idle
}

func megabytes(bytes int64) float64 { return round(float64(bytes)/1e6, 1) }

func round(x float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(x*p) / p
}
