package apikey_test

import (
	"fmt"
	"hash/crc32"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// remake gives a forged key the checksum it needs to be looked at.
func remake(t *testing.T, key string) string {
	t.Helper()
	body := key[:len(key)-8]
	return body + fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body)))
}
