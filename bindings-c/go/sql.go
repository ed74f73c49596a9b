package pgque

import (
	"context"
	"database/sql"
	"errors"
)

// SQLQuerier is the part of *sql.Tx and *sql.Conn that [OverSQL] needs.
type SQLQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// OverSQL is [Over] for a transaction or connection of database/sql, with pgx or lib/pq as the driver.
func OverSQL(tx SQLQuerier) (*Client, error) {
	return Over(sqlQuerier{tx})
}

type sqlQuerier struct{ tx SQLQuerier }

func (q sqlQuerier) Query(ctx context.Context, statement string, params []*string) ([][]*string, error) {
	args := make([]any, len(params))
	for i, param := range params {
		if param != nil {
			args[i] = *param
		}
	}
	rows, err := q.tx.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var found [][]*string
	for rows.Next() {
		row, into := make([]*string, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		found = append(found, row)
	}
	return found, rows.Err()
}

// find is errors.As for an interface; nil if no error in the chain has it.
func find[T any](err error) *T {
	var found T
	if !errors.As(err, &found) {
		return nil
	}
	return &found
}
