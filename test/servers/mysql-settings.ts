import type { PoolOptions } from 'mysql2/promise'

/** Options of mysql2 that change how values are written or read. None of them may make a difference. */
export const clientOptions: Readonly<Record<string, PoolOptions>> = {
  'numbers, dates and rows in other forms': {
    supportBigNumbers: true, bigNumberStrings: true, dateStrings: true, decimalNumbers: true, rowsAsArray: true, nestTables: true
  },
  'a type cast, other placeholders and a character set of one byte': {
    typeCast: (field, _next) => field.buffer(), namedPlaceholders: true, stringifyObjects: true, charset: 'LATIN1_SWEDISH_CI'
  },
  'other flags, several statements at once and another time zone': {
    flags: ['-FOUND_ROWS'], multipleStatements: true, timezone: '+09:00'
  }
}

const setMode = (...modes: string[]) => `SET SESSION sql_mode = '${modes.join()}'`

/** What a connection may begin with. None of it may make a difference. */
export const sqlModes: Readonly<Record<string, readonly string[]>> = {
  'sql_mode without anything, READ COMMITTED, and a collation that folds': [
    setMode(), 'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED', "SET collation_connection = 'utf8mb4_general_ci'"
  ],
  'sql_mode ANSI_QUOTES and others, and SERIALIZABLE': [
    setMode('ANSI_QUOTES', 'PIPES_AS_CONCAT', 'IGNORE_SPACE', 'HIGH_NOT_PRECEDENCE', 'NO_UNSIGNED_SUBTRACTION', 'ONLY_FULL_GROUP_BY'),
    'SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE'
  ],
  'sql_mode NO_BACKSLASH_ESCAPES and strictness, and another time zone': [
    setMode('TRADITIONAL', 'NO_BACKSLASH_ESCAPES', 'NO_AUTO_VALUE_ON_ZERO', 'PAD_CHAR_TO_FULL_LENGTH'), "SET time_zone = '-11:00'"
  ]
}
