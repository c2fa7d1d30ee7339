package doctor_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

func TestMain(m *testing.M) {
	brokertest.Overlap()
	goleak.VerifyTestMain(m)
}
