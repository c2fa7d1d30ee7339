package publisher_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

func TestMain(m *testing.M) {
	brokertest.Overlap()
	goleak.VerifyTestMain(withExamples{m})
}

// withExamples ends what the examples have begun.
type withExamples struct{ *testing.M }

func (m withExamples) Run() int {
	defer examples.end()
	return m.M.Run()
}
