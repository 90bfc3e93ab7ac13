package sqlaccounts_test

import (
	"context"
	"testing"

	"github.com/mailkeel/mailkeel/accounts/accountstest"
	"github.com/mailkeel/mailkeel/internal/sqldb"
	"github.com/mailkeel/mailkeel/internal/sqldb/pgdb"
	"github.com/mailkeel/mailkeel/internal/testpg"
)

func TestConformancePostgres(t *testing.T) {
	c := testpg.Start(t, testpg.Options{NoSync: true})
	open := func(t *testing.T) accountstest.Subject {
		conn := c.Schema(t)
		return subject(t, func(ctx context.Context) (sqldb.DB, error) { return pgdb.Open(ctx, conn, pgdb.Options{MaxConns: 8}) })
	}
	conformance(t, open)
}
