package generate_test

import (
	"os"
	"testing"

	"weboffice-functions/shared/standin/office"
)

func TestMain(m *testing.M) {
	if !office.ServeElsewhere() {
		os.Exit(m.Run())
	}
}

func startIMM(b *testing.B) string {
	url, stop, err := office.StartElsewhere(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	return url
}
