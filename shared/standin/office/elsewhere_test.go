package office_test

import (
	"os"
	"strings"
	"testing"

	"weboffice-functions/shared/standin/office"
)

func TestMain(m *testing.M) {
	if !office.ServeElsewhere() {
		os.Exit(m.Run())
	}
}

func TestElsewhere(t *testing.T) {
	url, stop, err := office.StartElsewhere(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := start(t)
	w.web.URL = url
	first := w.generate(t, "")
	second := w.refresh(t, first)
	if !strings.HasPrefix(first.url, "https://") || second.access == first.access {
		t.Errorf("%v, then %v", first, second)
	}
	stop()
	if _, err := w.client(t).GenerateWebofficeToken(plainRequest()); err == nil {
		t.Error("it did not stop")
	}
}
