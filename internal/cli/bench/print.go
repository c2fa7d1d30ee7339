package bench

import (
	"strconv"

	"github.com/kefuhq/kefu/internal/bench"
	"github.com/kefuhq/kefu/internal/cli"
)

func (b *measure) print(report *bench.Report) error {
	if b.streams.AsJSON() {
		return b.streams.Value(report)
	}
	ratios := make(map[string]bench.Comparison)
	for _, r := range report.Ratios {
		ratios[r.Key] = r
	}
	columns := []cli.Column[bench.Measure]{{Title: "",
		Cell: func(m bench.Measure) string { return m.Name }}}
	for _, s := range report.Contenders {
		columns = append(columns, cli.Column[bench.Measure]{
			Title: s.Name, Right: true,
			Cell: func(m bench.Measure) string {
				if v, ok := s.Medians[m.Key]; ok {
					return decimal(v, m.Digits)
				}
				return ""
			},
		})
	}
	if len(report.Contenders) > 1 {
		columns = append(columns, cli.Column[bench.Measure]{
			Title: "ratio", Right: true,
			Cell: func(m bench.Measure) string {
				r, ok := ratios[m.Key]
				switch {
				case !ok:
					return ""
				case r.Low == r.High:
					return decimal(r.Median, 2)
				}
				span := decimal(r.Low, 2) + "–" + decimal(r.High, 2)
				return decimal(r.Median, 2) + " [" + span + "]"
			},
		})
	}
	var rows []bench.Measure
	for _, m := range bench.Measures {
		for _, s := range report.Contenders {
			if _, ok := s.Medians[m.Key]; ok {
				rows = append(rows, m)
				break
			}
		}
	}
	if err := cli.List(b.streams, rows, columns); err != nil {
		return err
	}
	b.streams.Notef("%s, %s, %s", cli.CountOrNo(report.CPUs, "CPU"), report.Platform,
		cli.CountOrNo(b.rounds, "round"))
	if report.Contenders[0].Medians["worker_cpu_us"] == 0 {
		b.streams.Notef("CPU and memory are not known here: there is no /proc")
	}
	return nil
}

// decimal returns a number with so many digits after the point, and thousands apart.
func decimal(v float64, digits int) string {
	if digits == 0 {
		return cli.Grouped(int64(v + 0.5))
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
