package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestASubjectIsAProducersOrKefusOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		subject, published string
		want               wire.Subject
	}{
		{"kefu.send.wx1.live.o", "kefu.send.wx1.live.o",
			wire.Subject{Subject: schema.LiveSubject("wx1", "o")}},
		{"kefu.send.wx1.live.3.o", "kefu.send.wx1.live.o",
			wire.Subject{Subject: schema.LiveSubject("wx1", "o")}},
		{"kefu.again.wx1.live.o", "kefu.again.wx1.live.o",
			wire.Subject{Subject: schema.LiveSubject("wx1", "o"), Again: true}},
		{"kefu.again.wx1.live.0.o", "kefu.again.wx1.live.o",
			wire.Subject{Subject: schema.LiveSubject("wx1", "o"), Again: true}},
		{"kefu.again.live.bulk.live", "kefu.again.live.bulk.live",
			wire.Subject{Subject: schema.BulkSubject("live", "live"), Again: true}},
	} {
		t.Run(tt.subject, func(t *testing.T) {
			t.Parallel()
			s, err := wire.ParseSubject(tt.subject)
			require.NoError(t, err)
			require.Equal(t, tt.want, s)
			require.Equal(t, tt.published, s.String())
		})
	}
	for _, subject := range []string{
		"", "kefu.again", "kefu.again.", "kefu.again.wx1.bulk.1.c",
		"kefu.again.kefu.send.wx1.live.o",
	} {
		_, err := wire.ParseSubject(subject)
		require.Error(t, err, subject)
	}
}

func TestSubjectsOfKefusOwn(t *testing.T) {
	t.Parallel()
	for want, made := range map[string]func(token string) string{
		"kefu.ledger.x":        wire.LedgerSubject,
		"kefu.later.wait.x.u":  func(s string) string { return wire.LaterWaitSubject(s, "u") },
		"kefu.later.wait.wx.x": func(s string) string { return wire.LaterWaitSubject("wx", s) },
		"kefu.later.due.x":     wire.LaterDueSubject,
		"kefu.rate.x":          wire.RateSubject,
		"kefu.deadindex.x":     wire.DeadIndexSubject,
		"kefu.audit.x":         wire.AuditSubject,
		"kefu.again.x.live.o":  func(s string) string { return again(schema.LiveSubject(s, "o")) },
		"kefu.again.wx.bulk.x": func(s string) string { return again(schema.BulkSubject("wx", s)) },
	} {
		require.Equal(t, want, made("x"))
		for _, crafted := range []string{
			"", ".", "a.b", "*", ">", " ", "a\r\nPUB x 0\r\n", "中文", "·",
			strings.Repeat("a", 129),
		} {
			require.Empty(t, made(crafted), "%s with %q", want, crafted)
		}
	}
}

func again(s schema.Subject) string { return wire.Subject{Subject: s, Again: true}.String() }
