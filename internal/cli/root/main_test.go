package root_test

import (
	"os"
	"testing"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

func TestMain(m *testing.M) {
	brokertest.Overlap()
	os.Exit(m.Run())
}
